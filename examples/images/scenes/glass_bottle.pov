// A green wine bottle lying on the board.
#declare Grid = 2; // soft shadows of glass cost minutes
#include "common.inc"
#declare GreenGlass = material {
  texture { pigment { rgbt <0.75, 0.95, 0.6, 0.95> }
    finish { ambient 0 diffuse 0.03 specular 1 roughness 0.002 reflection { 0.03, 0.6 fresnel on } } }
  interior { ior 1.5 fade_distance 0.42 fade_power 1001 fade_colour rgb <0.22, 0.45, 0.12> }
}
#declare Bottle = difference {
  lathe { bezier_spline 16
    <0, 0> <2, 0> <3.4, -0.1> <3.5, 0.5>      <3.5, 0.5> <3.5, 4> <3.5, 11> <3.5, 13.5>
    <3.5, 13.5> <3.4, 16> <1.5, 16.5> <1.35, 19>  <1.35, 19> <1.3, 21> <1.3, 23> <1.35, 24.5> }
  lathe { bezier_spline 16
    <0, 2.2> <1.6, 1.6> <3.0, 0.7> <3.2, 1.2>      <3.2, 1.2> <3.2, 4> <3.2, 11> <3.2, 13.4>
    <3.2, 13.4> <3.1, 15.6> <1.2, 16.4> <1.05, 19>  <1.05, 19> <1.0, 21> <1.0, 23> <1.0, 25> }
}
union {
  object { Bottle material { GreenGlass } }
  torus { 1.25, 0.28 translate y * 23.6 material { GreenGlass } }
  // paper label
  difference {
    cylinder { y * 4.5, y * 11.5, 3.53 open }
    box { <-4, 0, -4> <4, 20, 1.1> }
    texture { pigment { gradient y scale 7 translate y * 4.5
        color_map { [0 rgb <0.85, 0.82, 0.7>] [0.62 rgb <0.85, 0.82, 0.7>] [0.62 rgb <0.45, 0.06, 0.08>] [0.8 rgb <0.45, 0.06, 0.08>] [0.8 rgb <0.85, 0.82, 0.7>] } }
      finish { ambient 0 diffuse 0.8 specular 0.1 } }
  }
  translate y * -12 rotate z * 90 rotate y * 62 rotate x * 0 translate <0.4, 3.5, -0.4>
}
