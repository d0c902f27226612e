// A tub of white polypropylene on its side, beside its lid.
#include "common.inc"
#declare White = texture { pigment { rgbf <0.93, 0.94, 0.95, 0.18> }
  finish { ambient 0 diffuse 0.72 specular 0.55 roughness 0.008 reflection { 0.02, 0.25 fresnel on } } }
union {
  difference { cone { 0, 3.4, y * 9, 4.7 } cone { y * 0.2, 3.28, y * 9.1, 4.6 } }
  torus { 4.7, 0.2 translate y * 9 }
  torus { 3.3, 0.16 }
  #for (I, 0, 3) torus { 3.5 + I * 0.145, 0.06 translate y * (1 + I) } #end
  texture { White } interior { ior 1.3 }
  translate y * -4.5 rotate z * 98 rotate y * 55 translate <-1.6, 4.1, 1.8>
}
union {
  cylinder { 0, y * 0.25, 4.9 } torus { 4.85, 0.24 translate y * 0.3 } torus { 3.6, 0.14 translate y * 0.3 }
  texture { White } interior { ior 1.3 } translate <3.6, 0.05, -7.2>
}
