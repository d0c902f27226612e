// A sheet of writing paper crumpled into a ball and half opened.
#include "common.inc"
#include "functions.inc"
#declare Crease = function(x, y, z) { abs(f_noise3d(x, y, z) - 0.5) }
isosurface {
  function {
    pow(pow(x / 7.6, 2) + pow(z / 8.4, 2), 1.3) + pow(y / 4.2, 2) - 1
    + 2.9 * Crease(x * 0.21, y * 0.21, z * 0.21) + 1.1 * Crease(x * 0.5 + 9, y * 0.5, z * 0.5) + 0.22 * Crease(x * 1.3, y * 1.3, z * 1.3) - 0.62
  }
  threshold 0 accuracy 0.01 max_gradient 5 contained_by { box { <-10, -4, -11>, <10, 5.5, 11> } }
  texture {
    pigment { gradient z scale 1.1 color_map { [0 rgb <0.93, 0.93, 0.91>] [0.93 rgb <0.93, 0.93, 0.91>] [0.93 rgb <0.62, 0.68, 0.82>] [1 rgb <0.62, 0.68, 0.82>] } }
    finish { ambient 0 diffuse 0.92 }
  }
  translate y * 2.6 rotate y * 35
}
