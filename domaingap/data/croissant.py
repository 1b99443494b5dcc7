"""Generated faces in files, described for other programs: Croissant, MLCommons' vocabulary for data sets.

Written as plain JSON; that mlcroissant validates it and reads the faces through it is tested. mlcroissant reads one kind of
file in a record set and no npz: pictures, landmarks and segmentations are record sets of their own, told together by ``id``,
and what the npz files hold is described.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from domaingap import __version__
from domaingap.data.generated import FaceGenerator
from domaingap.data.generated.face import VERSION, VERSION_DATE
from domaingap.provenance import plain_terms

CROISSANT = "croissant.json"
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As Croissant 1.1 has it."""
LANDMARKS = "the iBUG 68 and two pupils, x then y in pixels, pixel centres at integers"
ARRAYS = {
    "landmarks_s": ("float64", [70, 2], f"labels as 3D points projected wherever they are: {LANDMARKS}"),
    "landmarks_r": ("float64", [70, 2], "labels as people set them, with an annotator's noise"),
    "landmarks_r_exact": ("float64", [70, 2], "the same without the noise"),
    "visible": ("bool", [70], "whether a point can be seen"),
    "pose": ("float64", [3], "yaw, pitch and roll in degrees"),
    "box": ("float64", [4], "where a face detector would typically report the face: left, top, right, bottom in pixels"),
}
"""What ``_face.npz`` holds beside the labels, by name: type, shape, meaning."""
ARRAY_FIELDS = {"array": "Its name.", "type": "NumPy's.", "shape": "Of one face's.", "meaning": "What it says, and units."}


def croissant(generator: FaceGenerator, specification: Mapping[str, Any], written: bytes) -> dict[str, Any]:
    """The description of a folder of faces, JSON-LD; the same for the same faces.

    Args:
        generator: what made them.
        specification: what ``generated.json`` says of them.
        written: that file's content.
    """
    n, size, domain, seed = (specification[key] for key in ("n", "size", "domain", "seed"))
    gaps = specification["dials"].items() if domain == "target" else ()
    what = ", ".join(
        [f"{n} {domain} faces with exact labels", f"{size} px", f"seed {seed}", *(f"{k} {v:g}" for k, v in gaps)]
    )
    given = {k: "FILE" if isinstance(v, dict) else v for k, v in generator.options().items()}
    options = " ".join([*(f"--{k} {v:g}" for k, v in gaps), *(f"--{k} {v}" for k, v in given.items())])
    if "geometry" in given:
        what, options = (
            f"{what}, heads: {generator.heads()}",
            f"{options} --model FOLDER and the same --albedo, --light",
        )
    command = f"domaingap data generate --domain {domain} --n {n} --seed {seed} --size {size} {options}".rstrip()
    held = ARRAYS | (_dense_arrays(generator.dense) if generator.dense else {})
    arrays = "; ".join(f"{name} {shape} {kind}, {says}" for name, (kind, shape, says) in held.items())
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": f"generated-{domain}-{specification['faces']}",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"generated-{domain}-faces",
        "description": f"Faces rendered by domaingap: {what}. '{command}' makes them again.",
        "license": [one["url"] or f"{one['data']}: {one['licence']}" for one in plain_terms(generator.terms())],
        "citeAs": f"@misc{{domaingap, title = {{domaingap {__version__}: {what}}}}}",
        "creator": {"@type": "sc:Organization", "name": "domaingap"},
        "datePublished": VERSION_DATE,
        "version": f"{VERSION}.{specification['format']}.0",
        "keywords": ["faces", "facial landmarks", "synthetic data"],
        "distribution": [
            {
                **_node("cr:FileObject", "specification", "What the faces are made of.", name="generated.json"),
                "contentUrl": "generated.json",
                "contentSize": f"{len(written)} B",
                "encodingFormat": "application/json",
                "sha256": hashlib.sha256(written).hexdigest(),
            },
            _files("images", "image/png", "[0-9]*[0-9].png", f"{n} pictures, {size} x {size} px, RGB"),
            _files("segmentation-files", "image/png", "[0-9]*_seg.png", "a class a pixel, numbered as FaceSynthetics does"),
            _files("landmark-files", "text/plain", "[0-9]*_ldmks.txt", f"70 lines: {LANDMARKS}"),
            _files("array-files", "application/zip", "[0-9]*_face.npz", f"NumPy arrays: {arrays}"),
        ],
        "recordSet": [
            _records("faces", "images", "A picture each.", _content("faces", "image", "images")),
            _records(
                "segmentations",
                "segmentation-files",
                "A picture's classes each.",
                _content("segmentations", "segmentation", "segmentation-files"),
            ),
            _records(
                "landmarks",
                "landmark-files",
                f"A point each, 70 a face: {LANDMARKS}.",
                {
                    **_node("cr:Field", "landmarks/point", "Number of the point, from 0."),
                    "dataType": "sc:Integer",
                    "source": _source("landmark-files", "lineNumbers"),
                },
                {
                    **_node("cr:Field", "landmarks/xy", "x and y in pixels."),
                    "dataType": "sc:Float",
                    "isArray": True,
                    "arrayShape": "2",
                    "source": _source("landmark-files", "lines") | {"transform": {"separator": " "}},
                },
            ),
            {
                **_node("cr:RecordSet", "arrays", "What each of the array-files holds."),
                "field": [
                    {**_node("cr:Field", f"arrays/{name}", says), "dataType": "sc:Text"}
                    for name, says in ARRAY_FIELDS.items()
                ],
                "data": [
                    {
                        "arrays/array": name,
                        "arrays/type": kind,
                        "arrays/shape": ",".join(map(str, shape)),
                        "arrays/meaning": says,
                    }
                    for name, (kind, shape, says) in held.items()
                ],
            },
        ],
    }


def _dense_arrays(n: int) -> dict[str, tuple[str, list[int], str]]:
    return {
        "dense_points": ("float64", [n, 2], "points spread evenly over the face, the same ones on every face, in pixels"),
        "dense_space": ("float64", [n, 3], "the same in space, in mm: x to the picture's right, y up, z towards the camera"),
        "dense_visible": ("bool", [n], "whether each of them can be seen"),
        "dense_camera": ("float64", [4], "focal length, principal point x and y in pixels, and the camera's z in mm"),
    }


def _node(kind: str, identity: str, description: str, name: str = "") -> dict[str, Any]:
    return {"@type": kind, "@id": identity, "name": name or identity.rpartition("/")[2], "description": description}


def _files(name: str, kind: str, includes: str, description: str) -> dict[str, Any]:
    return {**_node("cr:FileSet", name, description), "encodingFormat": kind, "includes": includes}


def _source(files: str, what: str) -> dict[str, Any]:
    return {"fileSet": {"@id": files}, "extract": {"fileProperty": what}}


def _records(name: str, files: str, description: str, *fields: dict[str, Any]) -> dict[str, Any]:
    """A record set over files; faces are told by the number that their files' names begin with."""
    number = {
        **_node("cr:Field", f"{name}/id", "The face's number."),
        "dataType": "sc:Text",
        "source": _source(files, "filename") | {"transform": {"regex": r"^(\d+)"}},
    }
    return {**_node("cr:RecordSet", name, description), "field": [number, *fields]}


def _content(records: str, name: str, files: str) -> dict[str, Any]:
    return {
        **_node("cr:Field", f"{records}/{name}", f"The {name}."),
        "dataType": "sc:ImageObject",
        "source": _source(files, "content"),
    }
