// A torn flap of corrugated board: two liners with the flutes showing at the cut edge.
#include "common.inc"
#macro Board(Colour)
  texture {
    pigment { granite scale <8, 2, 3> color_map { [0 rgb Colour * 0.88] [1 rgb Colour * 1.06] } }
    normal { average normal_map { [1 gradient x 0.12 scale 0.62 sine_wave] [1 bumps 0.2 scale 4] } }
    finish { ambient 0 diffuse 0.78 }
  }
#end
#declare Kraft = <0.56, 0.395, 0.245>;
#macro Outline(H)
  prism { linear_spline 0, H, 11
    <-7.5, -9>, <6.8, -9.4>, <7.4, -3>, <6.9, 1>, <7.7, 4.2>, <6.2, 8.6>, <2.4, 9.6>, <-0.6, 8.7>, <-4.2, 9.7>, <-7.9, 8.2>, <-7.5, -9> }
#end
#declare Flap = union {
  object { Outline(0.07) Board(Kraft) }
  object { Outline(0.07) translate y * 0.62 Board(Kraft * 1.05) }
  intersection {
    union { #for (I, -28, 28)
      box { <-0.045, 0, -12> <0.045, 0.75, 12> rotate z * (mod(I + 100, 2) * 80 - 40) translate <I * 0.31, -0.03, 0> }
    #end }
    object { Outline(0.62) scale <0.99, 1, 0.985> }
    Board(Kraft * 0.8)
  }
}
object { Flap rotate <0, 22, 0> rotate z * 5 translate <-0.8, 0.9, 0.6> }
// a second, smaller piece leaning over it
object { Flap scale <0.5, 1, 0.55> rotate <0, -48, 0> rotate <-7, 0, 4> translate <2.6, 2.1, -5.2> }
