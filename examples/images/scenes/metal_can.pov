// An opened food can without its label: ridged steel, lying on its side.
#include "common.inc"
#declare Steel = texture {
  pigment { rgb <0.72, 0.72, 0.71> }
  normal { bumps 0.03 scale <0.3, 3, 0.3> }
  finish { ambient 0 diffuse 0.25 specular 0.7 roughness 0.03 metallic reflection { 0.45 metallic } }
}
#declare Can = union {
  difference { cylinder { 0, y * 11, 3.7 } cylinder { y * 0.3, y * 12, 3.6 } }
  #for (I, 0, 6) torus { 3.68, 0.13 translate y * (2.6 + I * 0.9) } #end
  torus { 3.75, 0.16 translate y * 0.1 }
  torus { 3.75, 0.16 translate y * 10.95 }
  #for (I, 1, 3) torus { I, 0.09 translate y * 0 } #end
  texture { Steel }
}
object { Can translate y * -5.5 rotate z * 90 rotate y * 38 translate <0, 3.9, 0.3> scale 1.2 }
