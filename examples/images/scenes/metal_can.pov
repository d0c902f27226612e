// A food can with its label, lying so that its lid is seen: steel rims, a ridged lid.
#include "common.inc"
#include "folds.inc"
Room()
#declare Steel = texture {
  pigment { rgb <0.80, 0.79, 0.77> }
  normal { bumps 0.02 scale <0.4, 2, 0.4> }
  finish { ambient 0 diffuse 0.12 specular 0.9 roughness 0.015 metallic reflection { 0.72 metallic } }
}
#declare Letters = union {
  #macro Line(T, S, H) text { ttf "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf" T 9, 0 scale <S, S, 1> translate <-2.6, H, -9> } #end
  Line("Tomatoes", 1.15, 5.6) Line("whole, peeled", 0.62, 4.6) Line("400 g", 0.8, 2.2)
}
#declare Can = union {
  cylinder { y * 0.2, y * 10.9, 3.66 texture { Steel } }
  cylinder { y * 1.1, y * 10.0, 3.70
    texture {
      pigment { object { Letters
        pigment { gradient y scale 9 translate y * 1.1 color_map { [0 rgb <0.10, 0.32, 0.10>] [0.28 rgb <0.10, 0.32, 0.10>] [0.28 rgb <0.85, 0.70, 0.22>] [0.31 rgb <0.85, 0.70, 0.22>] [0.31 rgb <0.62, 0.05, 0.04>] [1 rgb <0.55, 0.04, 0.03>] } }
        pigment { rgb <0.93, 0.91, 0.86> } } }
      finish { ambient 0 diffuse 0.75 specular 0.35 roughness 0.02 reflection { 0.01, 0.12 fresnel on } }
    }
    interior { ior 1.4 }
  }
  torus { 3.66, 0.19 translate y * 10.95 texture { Steel } }
  torus { 3.66, 0.19 translate y * 0.15 texture { Steel } }
  lathe { cubic_spline 10 <0, 10.2>, <0, 10.5>, <1.5, 10.55>, <1.8, 10.68>, <2.1, 10.55>, <2.5, 10.55>, <2.8, 10.7>, <3.1, 10.5>, <3.6, 10.55>, <3.7, 11> texture { Steel } }
  union {  // the pull ring
    torus { 0.62, 0.11 scale <1, 0.7, 1.3> translate <0, 10.85, 1.1> }
    box { <-0.35, 10.7, -0.1>, <0.35, 10.85, 0.9> }
    cylinder { <0, 10.6, 0.3>, <0, 10.95, 0.3>, 0.22 }
    translate z * 0.8 texture { Steel }
  }
}
object { Can translate y * -5.5 rotate x * 180 rotate x * -118 rotate y * -36 translate <0, 5.2, 0> scale 1.25 translate <0, 0, 0> }
