// An empty jar of clear glass, standing, seen from above and a little from the side.
#declare Grid = 2; // soft shadows of glass cost minutes
#include "common.inc"
#declare Jar = difference {
  lathe { bezier_spline 16
    <0, 0> <2, 0> <4.2, -0.1> <4.4, 0.6>   <4.4, 0.6> <4.6, 3> <4.6, 6> <4.4, 8.4>
    <4.4, 8.4> <4.2, 9.4> <3.5, 9.4> <3.5, 10>  <3.5, 10> <3.5, 10.4> <3.5, 10.9> <3.5, 11.2> }
  lathe { bezier_spline 16
    <0, 0.8> <2, 0.6> <3.9, 0.5> <4.05, 1.2>   <4.05, 1.2> <4.2, 3> <4.2, 6> <4.05, 8.3>
    <4.05, 8.3> <3.9, 9.2> <3.15, 9.4> <3.15, 10>  <3.15, 10> <3.15, 10.4> <3.15, 11> <3.15, 12> }
}
union {
  object { Jar }
  #for (I, 0, 2) torus { 3.5, 0.12 translate y * (9.9 + I * 0.45) } #end
  torus { 4.2, 0.14 translate y * 0.7 }
  material { ClearGlass }
  translate y * -5.6 rotate z * 90 rotate y * 52 translate <0, 4.5, 0> scale 1.15
}
