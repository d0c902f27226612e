// The empty wrapper of a chocolate bar: printed foil film, crimped ends, creased.
#include "common.inc"
#include "functions.inc"
#declare Crease = function(x, y, z) { abs(f_noise3d(x, y, z) - 0.5) }
#declare Thick = function(x, z) { max(0.02, 0.75 * (1 - pow(x / 3.1, 4)) * (1 - pow(min(1, abs(z) / 7.2), 6))) }
isosurface {
  function { abs(y - 0.5 - 0.9 * Crease(x * 0.35, 3, z * 0.35) - 0.35 * Crease(x * 1.2, 5, z * 1.2) - 0.08 * sin(abs(z) * 9) * select(abs(z) - 7, 0, 1)) - Thick(x, z) * (0.3 + Crease(x * 0.8, 1, z * 0.8)) }
  threshold 0 accuracy 0.005 max_gradient 5
  contained_by { box { <-3.2, -0.6, -8.6>, <3.2, 2.6, 8.6> } }
  texture {
    pigment { gradient z scale 18 translate z * -9
      color_map { [0 rgb <0.75, 0.76, 0.78>] [0.08 rgb <0.75, 0.76, 0.78>] [0.09 rgb <0.10, 0.20, 0.52>] [0.36 rgb <0.10, 0.22, 0.58>] [0.37 rgb <0.85, 0.82, 0.78>] [0.41 rgb <0.85, 0.82, 0.78>]
        [0.42 rgb <0.62, 0.10, 0.08>] [0.66 rgb <0.62, 0.10, 0.08>] [0.67 rgb <0.85, 0.82, 0.78>] [0.71 rgb <0.10, 0.22, 0.58>] [0.91 rgb <0.10, 0.20, 0.52>] [0.92 rgb <0.75, 0.76, 0.78>] } }
    normal { wrinkles 0.45 scale 1.1 }
    finish { ambient 0 diffuse 0.6 specular 0.8 roughness 0.015 reflection { 0.10 } }
  }
  rotate y * 28 translate y * 0.25
}
