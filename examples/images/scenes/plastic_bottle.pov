// A clear PET bottle with ribs, a blue cap and a paper band, lying on the board.
#declare Grid = 2; // soft shadows of glass cost minutes
#include "common.inc"
#declare Pet = material {
  texture { pigment { rgbt <0.97, 0.985, 1, 0.93> } normal { bumps 0.12 scale 1.6 }
    finish { ambient 0 diffuse 0.1 specular 0.9 roughness 0.004 reflection { 0.03, 0.7 fresnel on } } }
  interior { ior 1.06 }
}
#declare Bottle = union {
  lathe { cubic_spline 15
    <0, -0.6> <1.2, 0.5> <3.1, 0> <3.3, 1.2> <3.05, 2.4> <3.3, 3.6> <3.05, 4.8> <3.3, 6> <3.25, 7> <3.25, 13> <3.3, 15> <2.5, 18> <1.35, 20> <1.3, 21.5> <1.3, 22>
    material { Pet } }
  cylinder { y * 20.6, y * 22.4, 1.55
    texture { pigment { rgb <0.05, 0.22, 0.62> } normal { radial 0.6 sine_wave frequency 60 } finish { ambient 0 diffuse 0.7 specular 0.4 roughness 0.03 } } }
  difference { cylinder { y * 8, y * 13, 3.32 open } cylinder { y * 7, y * 14, 3.29 }
    texture { pigment { gradient y scale 5 translate y * 8
        color_map { [0 rgb <0.1, 0.35, 0.75>] [0.3 rgb <0.12, 0.45, 0.85>] [0.32 rgb 0.95] [0.7 rgb 0.95] [0.72 rgb <0.12, 0.45, 0.85>] [1 rgb <0.1, 0.35, 0.75>] } }
      finish { ambient 0 diffuse 0.75 specular 0.5 roughness 0.01 reflection 0.04 } } }
}
object { Bottle translate y * -11 rotate z * 90 rotate y * 70 translate <0.3, 3.3, 0> scale 1.02 }
