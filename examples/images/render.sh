#!/usr/bin/env bash
# Renders every scene (or those named) into this folder: render.sh [NAME ...]
# Needs POV-Ray 3.7 and the DejaVu fonts (Debian: povray fonts-dejavu-core), and OpenCV (make setup).
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-../../.venv/bin/python}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
width=${WIDTH:-384} height=${HEIGHT:-512}
for scene in ${*:-$(cd scenes && ls ./*.pov)}; do
  name=$(basename "$scene" .pov)
  echo "rendering $name"
  timeout "${LIMIT:-120}" povray "+Iscenes/$name.pov" "+O$scratch/$name.png" +Lscenes "+W$width" "+H$height" +A0.2 +AM2 +R2 -D -GA 2> "$scratch/$name.log" \
    || { tail -5 "$scratch/$name.log" >&2; exit 1; }
  # A camera's own softness and grain; then JPEG, as a phone stores it.
  "$python" - "$scratch/$name.png" "$name.jpg" <<'PY'
import sys
import cv2
import numpy as np
image = cv2.imread(sys.argv[1]).astype(np.float32)
image = cv2.GaussianBlur(image, (0, 0), 0.6)
image += np.random.default_rng(0).normal(0, 2.0, image.shape[:2])[..., None]
cv2.imwrite(sys.argv[2], np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
PY
done
