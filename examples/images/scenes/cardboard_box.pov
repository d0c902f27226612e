// The top of a closed box that fills the picture: a seam under clear tape, print, dents.
#include "common.inc"
#declare Brown = texture {
  pigment { granite scale <30, 3, 4> turbulence 0.1
    color_map { [0 rgb <0.47, 0.33, 0.20>] [0.5 rgb <0.54, 0.38, 0.235>] [1 rgb <0.58, 0.42, 0.26>] } }
  normal { average normal_map {
    [1 gradient z 0.10 scale 0.7 sine_wave]
    [1 bumps 0.15 scale 5]
    [0.5 granite 0.15 scale 1] } }
  finish { ambient 0 diffuse 0.75 specular 0.04 roughness 0.15 }
}
union {
  superellipsoid { <0.02, 0.02> scale <15, 6, 9.9> translate <0, 6, 10> texture { Brown } }
  superellipsoid { <0.02, 0.02> scale <15, 6, 9.9> translate <0, 5.92, -9.95> texture { Brown } }
  // tape over the seam
  box { <-14, 12.0, -1.9> <15, 12.04, 2.1>
    texture { pigment { rgbt <0.75, 0.6, 0.42, 0.45> }
      normal { wrinkles 0.25 scale <2, 1, 6> }
      finish { ambient 0 diffuse 0.4 specular 0.8 roughness 0.01 reflection 0.05 } } }
  object { Printed("PF-024/1", 3.2, rgb 0.09) translate <-12, 12.05, 5> }
  object { Printed("24 bags of 12", 1.5, rgb 0.1) translate <-12, 12.05, 9> }
  object { Printed("THIS SIDE UP", 1.6, rgb 0.1) translate <-11, 12.0, -8> }
  #local R = seed(4);
  #for (I, 0, 22)
    box { <0, 11.9, 0> <0.12 + 0.25 * rand(R), 12.0, 3.4> translate <2 + I * 0.5, 0, -14> pigment { rgb 0.08 } }
  #end
  rotate y * 14
  translate <1, -6, 1>
  scale 0.95
}
