// The empty wrapper of a chocolate bar: printed film, crimped ends, a seam, creases, silver where torn.
#include "common.inc"
#include "folds.inc"
Room()
#declare Length = 20;
#declare Inside = function(x, y) { select(0.47 - abs(x - 0.5) - 0.03 * f_noise3d(x * 3, y * 6, 2), 0, 1) * select(0.485 - abs(y - 0.5) - 0.012 * Wave(x * 26), 0, 1) }
#declare Crimp = function(y) { select(abs(y - 0.5) - 0.43, 0, 1) }
#declare Body = function(x, y) { pow(max(0, 1 - pow(2 * abs(x - 0.5), 4)), 0.7) }
#macro Line(T, S, X, Z) text { ttf "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf" T 9, 0 scale <S, S, 1> rotate x * 90 rotate y * 90 translate <X, 8, Z> } #end
#declare Small = union {
  #for (I, 0, 9) #for (K, 0, 24) box { <1.3 + I * 0.24, -1, -7.4 + K * 0.32>, <1.40 + I * 0.24, 9, -7.4 + K * 0.32 + 0.10 + 0.16 * mod(I * 5 + K * 3, 7) / 6> } #end #end
}
#declare Name = union { Line("CHOCO", 2.3, -2.0, 3.6) }
#declare Code = union { #for (I, 0, 16) box { <-3.0, -1, 6.0 + I * 0.14>, <-1.4, 9, 6.0 + I * 0.14 + 0.05 + 0.06 * mod(I * 7, 3) / 2> } #end }
#declare Film = pigment {
  object { Name
    pigment { object { Small
      pigment { object { Code
        pigment { gradient z scale Length translate z * -Length / 2
          color_map { [0 rgb <0.62, 0.62, 0.64>] [0.06 rgb <0.62, 0.62, 0.64>] [0.06 rgb <0.30, 0.02, 0.03>] [0.72 rgb <0.42, 0.03, 0.03>] [0.72 rgb <0.86, 0.66, 0.20>] [0.74 rgb <0.86, 0.66, 0.20>] [0.74 rgb <0.90, 0.89, 0.85>] [0.94 rgb <0.90, 0.89, 0.85>] [0.94 rgb <0.62, 0.62, 0.64>] } }
        pigment { rgb 0.04 } } }
      pigment { rgb <0.85, 0.83, 0.80> } } }
    pigment { rgb <0.92, 0.85, 0.65> } }
}
height_field {
  function 700, 1200 {
    Inside(x, y) * (0.07 + (1 - Crimp(y)) * Body(x, y) * (0.16 + 0.75 * Folds(x * 0.35 + 1, y * 0.8) + 0.10 * Folds(x * 1.2, y * 2.6)) + Crimp(y) * (0.05 * Wave(x * 40) + 0.12 * Folds(x, y * 2)))
  }
  water_level 0.04
  translate <-0.5, 0, -0.5> scale <9.5, 3.4, Length>
  texture {
    pigment { Film }
    finish { ambient 0 diffuse 0.7 specular 0.6 roughness 0.012 reflection { 0.03, 0.3 fresnel on } }
  }
  interior { ior 1.5 }
  rotate y * 24
}
