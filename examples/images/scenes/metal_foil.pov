// A crumpled sheet of aluminium foil.
#include "common.inc"
#include "functions.inc"
#declare Crease = function(x, y) { 1 - 2 * abs(f_noise3d(x, y, 3) - 0.5) }
#declare Edge = function(x, y) { min(1, max(0, 4.4 * (0.47 + 0.10 * f_noise3d(x * 9, y * 9, 1) - sqrt(pow(x - 0.5, 2) * 1.15 + pow(y - 0.5, 2) * 0.9)))) }
height_field {
  function 500, 500 {
    Edge(x, y) * (0.42 * Crease(x * 5, y * 5) + 0.28 * Crease(x * 11 + 3, y * 11) + 0.16 * Crease(x * 24, y * 24 + 7) + 0.08)
  }
  water_level 0.02
  translate <-0.5, 0, -0.5> scale <19, 5.5, 22>
  texture {
    pigment { rgb <0.78, 0.79, 0.81> }
    normal { wrinkles 0.3 scale 0.8 }
    finish { ambient 0 diffuse 0.18 specular 0.8 roughness 0.03 metallic reflection { 0.62 metallic } }
  }
  rotate y * 20
}
