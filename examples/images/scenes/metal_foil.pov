// A crumpled sheet of aluminium foil, half opened again.
#include "common.inc"
#include "folds.inc"
Room()
#declare Edge = function(x, y) {
  min(1, max(0, 30 * (0.42 + 0.13 * f_noise3d(x * 6, y * 6, 1) + 0.10 * Folds(x, y) - sqrt(pow(x - 0.5, 2) * 1.1 + pow(y - 0.5, 2)))))
}
height_field {
  function 900, 900 { Edge(x, y) * (0.06 + 0.78 * Folds(x * 0.62, y * 0.62) + 0.13 * Folds(x * 2.1 + 4, y * 2.1) + 0.03 * Wrinkles(x * 1.4, y * 1.4)) }
  water_level 0.02
  translate <-0.5, 0, -0.5> scale <22, 5, 25>
  texture {
    pigment { rgb <0.86, 0.87, 0.88> }
    finish { ambient 0 diffuse 0.10 specular 1.1 roughness 0.02 metallic brilliance 2 reflection { 0.78 metallic } }
  }
  rotate y * 20
}
