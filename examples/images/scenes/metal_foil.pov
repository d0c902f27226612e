// A crumpled sheet of aluminium foil.
#include "common.inc"
#include "functions.inc"
#declare Crease = function(x, y, z) { abs(f_noise3d(x, y, z) - 0.5) }
isosurface {
  function {
    pow(pow(x / 8.6, 2) + pow(z / 10.2, 2), 1.6) + pow(y / 3.1, 2) - 1
    + 2.3 * Crease(x * 0.28, y * 0.28, z * 0.28) + 1.25 * Crease(x * 0.75, y * 0.75, z * 0.75) + 0.5 * Crease(x * 1.9, y * 1.9, z * 1.9) - 0.62
  }
  threshold 0 accuracy 0.01 max_gradient 6 contained_by { box { <-11, -4, -13>, <11, 4.5, 13> } }
  texture {
    pigment { rgb <0.80, 0.81, 0.83> }
    normal { wrinkles 0.35 scale 1.4 }
    finish { ambient 0 diffuse 0.22 specular 0.9 roughness 0.025 metallic reflection { 0.55 metallic } }
  }
  translate y * 2.2 rotate y * 20
}
