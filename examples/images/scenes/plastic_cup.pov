// A printed tub of polypropylene, on its side, and its clear lid.
#include "common.inc"
#include "folds.inc"
Room()
#declare Gloss = finish { ambient 0 diffuse 0.8 specular 0.6 roughness 0.01 reflection { 0.02, 0.25 fresnel on } }
#declare Shell = material { texture { pigment { rgb <0.96, 0.96, 0.95> } finish { Gloss } } interior { ior 1.45 } }
#macro Line(T, S, H) text { ttf "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf" T 9, 0 scale <S, S, 1> translate <-2.7, H, -9> } #end
#declare Letters = union { Line("Yogurt", 1.5, 5.2) Line("plain, 3.8 % fat", 0.55, 4.2) Line("500 g", 0.7, 2.6) }
union {
  difference { cone { 0, 3.4, y * 9, 4.7 } cone { y * 0.2, 3.28, y * 9.1, 4.6 } material { Shell } }
  torus { 4.7, 0.22 translate y * 9 material { Shell } }
  torus { 3.3, 0.16 material { Shell } }
  difference {
    cone { y * 1.2, 3.60, y * 7.9, 4.57 } cone { y * 1, 3.5, y * 8.1, 4.5 }
    texture {
      pigment { object { Letters
        pigment { gradient y scale 9 color_map { [0 rgb <0.05, 0.28, 0.60>] [0.42 rgb <0.10, 0.42, 0.75>] [0.42 rgb <0.93, 0.94, 0.95>] [0.46 rgb <0.93, 0.94, 0.95>] [0.46 rgb <0.08, 0.36, 0.68>] [1 rgb <0.04, 0.25, 0.55>] } }
        pigment { rgb <0.97, 0.96, 0.93> } } }
      finish { Gloss }
    }
    interior { ior 1.45 }
  }
  rotate y * 180 translate y * -4.5 rotate x * -68 rotate y * -32 translate <-0.6, 4.6, 2.6> scale 1.15
}
union {
  cylinder { 0, y * 0.08, 5.2 } torus { 5.1, 0.2 translate y * 0.2 } torus { 3.9, 0.1 translate y * 0.15 } torus { 1, 0.05 translate y * 0.1 }
  material {
    texture { pigment { rgbt <0.97, 0.98, 1, 0.80> } normal { bumps 0.03 scale 1 } finish { ambient 0 diffuse 0.25 specular 0.8 roughness 0.004 reflection { 0.03, 0.5 fresnel on } } }
    interior { ior 1.45 }
  }
  translate <3.7, 0.05, -8.2>
}
