// A printed sheet, folded once and opened again, a little curled.
#include "common.inc"
#include "functions.inc"
#declare W = 7.2; #declare H = 10.2;
#declare Ink = function { pattern { granite scale 0.1 } }
#declare Line = function(x, z) { (1 - select(mod(z + 40, 0.72) - 0.34, 0, 1)) * select(f_noise3d(x * 2.6, 0, floor((z + 40) / 0.72) * 7.1) - 0.37, 0, 1) * select(abs(x) - 5.8, 1, 0) * select(abs(z + 0.8) - 8.2, 1, 0) }
isosurface {
  function { abs(y - (0.55 * abs(z) / 5 + 0.012 * x * x + 0.22 * f_noise3d(x * 0.22, 1, z * 0.22))) - 0.02 }
  threshold 0 accuracy 0.005 max_gradient 2.2
  contained_by { box { <-W, -0.2, -H>, <W, 3, H> } }
  texture {
    pigment { function { Line(x, z) } color_map { [0 rgb <0.90, 0.90, 0.885>] [0.5 rgb <0.90, 0.90, 0.885>] [0.5 rgb 0.16] [1 rgb 0.16] } }
    normal { wrinkles 0.08 scale 5 }
    finish { ambient 0 diffuse 0.9 }
  }
  rotate y * -16 translate y * 0.05
}
object { Printed("MONTHLY REPORT", 1.15, rgb 0.12) translate <-5.6, 2.05, 8.0> rotate y * -16 }
