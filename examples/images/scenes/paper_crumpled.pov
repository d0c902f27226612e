// A sheet of ruled paper, crumpled and opened again.
#include "common.inc"
#include "folds.inc"
#declare Inside = function(x, y) {
  select(0.47 - abs(x - 0.5) - 0.05 * f_noise3d(x * 2, y * 5, 2), 0, 1) * select(0.47 - abs(y - 0.5) - 0.05 * f_noise3d(x * 5, y * 2, 4), 0, 1)
}
height_field {
  function 900, 900 { Inside(x, y) * (0.06 + 0.85 * Folds(x * 0.5 + 2, y * 0.6) + 0.12 * Folds(x * 1.5, y * 1.9) + 0.02 * Wrinkles(x, y)) }
  water_level 0.03
  translate <-0.5, 0, -0.5> scale <17, 7, 22>
  texture {
    pigment {
      gradient z scale 0.95 turbulence 0.03
      color_map { [0 rgb <0.93, 0.93, 0.91>] [0.93 rgb <0.93, 0.93, 0.91>] [0.93 rgb <0.55, 0.63, 0.82>] [1 rgb <0.55, 0.63, 0.82>] }
    }
    finish { ambient 0 diffuse 0.92 }
  }
  rotate y * 28
}
