import json
import sys

import cv2
import numpy as np
import onnxruntime

network, photo, *box = sys.argv[1:]
session = onnxruntime.InferenceSession(network)
rule = json.loads(session.get_modelmeta().custom_metadata_map["domaingap"])["crop"]
x0, y0, x1, y1 = map(float, box)  # the face, as MTCNN frames it: forehead to chin, in pixels
size, side = rule["size"], rule["scale"] * np.sqrt((x1 - x0) * (y1 - y0))
corner = np.array([(x0 + x1) / 2, (y0 + y1) / 2 + rule["down"] * (y1 - y0)]) + 0.5 - side / 2
picture = cv2.cvtColor(cv2.imread(photo), {"gray": cv2.COLOR_BGR2GRAY, "rgb": cv2.COLOR_BGR2RGB}[rule["channels"]])


def reduced(pixels, start):  # along the first axis: bicubic, wide enough to smooth, and the picture's edge repeated
    at, width = start + (np.arange(size) + 0.5) * side / size, max(side / size, 1)
    there = np.arange(int(at[0] - 2 * width) - 1, int(at[-1] + 2 * width) + 2)
    t = np.abs(there + 0.5 - at[:, None]) / width
    weights = np.where(t < 1, (1.5 * t - 2.5) * t * t + 1, np.where(t < 2, ((2.5 - 0.5 * t) * t - 4) * t + 2, 0))
    values = np.tensordot(weights / weights.sum(1, keepdims=True), pixels[there.clip(0, len(pixels) - 1)], 1)
    return values.round().clip(0, 255)


crop = reduced(reduced(picture.swapaxes(0, 1), corner[0]).swapaxes(0, 1), corner[1]).astype(np.uint8)
points = session.run(["points"], {"crops": crop[None]})[0][0]
print(json.dumps(((points + 0.5) * side / size + corner - 0.5).tolist()))
