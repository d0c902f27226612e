// The empty wrapper of a chocolate bar: printed foil film, crimped ends, creased.
#include "common.inc"
#include "functions.inc"
#declare Crease = function(x, y) { 1 - 2 * abs(f_noise3d(x, y, 3) - 0.5) }
#declare Inside = function(x, y) { select(0.485 - abs(x - 0.5) - 0.012 * f_noise3d(x * 3, y * 14, 2), 0, 1) * select(0.485 - abs(y - 0.5) - 0.01 * f_noise3d(x * 40, y, 2), 0, 1) }
#declare Crimp = function(y) { select(abs(y - 0.5) - 0.435, 0, 1) }
height_field {
  function 400, 800 {
    Inside(x, y) * (0.10 + (1 - Crimp(y)) * (0.42 * pow(max(0, 1 - pow(2 * abs(x - 0.5), 3)), 0.7) * (0.55 + 0.45 * Crease(x * 3, y * 7)) + 0.14 * Crease(x * 7, y * 18))
      + Crimp(y) * 0.07 * (1 + sin(x * 160)))
  }
  water_level 0.05 smooth
  translate <-0.5, 0, -0.5> scale <7.4, 2.6, 18>
  texture {
    pigment { gradient z scale 18 translate z * -9
      color_map { [0 rgb <0.70, 0.71, 0.73>] [0.07 rgb <0.70, 0.71, 0.73>] [0.08 rgb <0.05, 0.10, 0.34>] [0.30 rgb <0.06, 0.12, 0.40>] [0.31 rgb <0.72, 0.68, 0.60>] [0.34 rgb <0.72, 0.68, 0.60>]
        [0.35 rgb <0.45, 0.05, 0.04>] [0.66 rgb <0.45, 0.05, 0.04>] [0.67 rgb <0.72, 0.68, 0.60>] [0.70 rgb <0.72, 0.68, 0.60>] [0.71 rgb <0.06, 0.12, 0.40>] [0.92 rgb <0.05, 0.10, 0.34>] [0.93 rgb <0.70, 0.71, 0.73>] } }
    normal { wrinkles 0.25 scale 0.9 }
    finish { ambient 0 diffuse 0.6 specular 0.7 roughness 0.02 reflection { 0.14 } }
  }
  rotate y * 28
}
