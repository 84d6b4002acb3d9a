"""MONAI Label's handlers of requests with checks in front: each value that reaches the app, a file name or the config is a known one.

Imported by the server only (it needs monailabel).
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore
from monailabel.endpoints import activelearning, batch_infer, datastore, infer, scoring, session, train
from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.others.generic import device_map

from bundle.files import written_aside
from bundle.serving import values
from bundle.serving.guard import Guard, Rules
from bundle.serving.values import Refused

Arguments = dict[str, Any]
# attribute of a handler whose arguments are checked
MARK = "checked"


class StudiesDatastore(LocalDatastore):
    """MONAI Label's folder of studies, which never writes through a link: a data set of links leads to someone's originals.

    MONAI Label copies into the files themselves. Here what is new is there whole before, or not at all where it has no room.
    """

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a new image; one that is there already stays."""
        own, ending = self._to_id(os.path.basename(image_filename))
        image_id = image_id or own
        target = os.path.join(self._datastore.image_path(), f"{image_id}{ending}")
        if os.path.lexists(target) or image_id in self.list_images():
            raise HTTPException(409, f"image: {image_id} is there already. Remove it first, or choose another name.")
        _put(image_filename, target)
        return super().add_image(image_id, image_filename, image_info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label map, in the place of the former one or of a link of that name."""
        if image_id in self._datastore.objects:
            _, ending = self._to_id(os.path.basename(label_filename))
            _put(label_filename, os.path.join(self._datastore.label_path(label_tag), f"{image_id}{ending}"))
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels; of links only the links."""
        found = self._datastore.objects.get(image_id)
        path = os.path.join(self._datastore.image_path(), f"{image_id}{found.image.ext}") if found else ""
        if not os.path.islink(path):
            super().remove_image(image_id)
            return
        for tag in list(found.labels):
            self.remove_label(image_id, tag)
        os.unlink(path)
        if not self._auto_reload:
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label map; of a link only the link."""
        label = self._datastore.label(label_id, label_tag)
        path = os.path.join(self._datastore.label_path(label_tag), f"{label_id}{label.ext}") if label else ""
        if not os.path.islink(path):
            super().remove_label(label_id, label_tag)
            return
        os.unlink(path)
        if not self._auto_reload:
            self.refresh()


def _put(source: str, target: str) -> None:
    with written_aside(target) as aside:
        shutil.copyfile(source, aside)


def install(app: MONAILabelApp) -> None:
    """Put the guard and the checks in front of the running server, before its first request. Twice is once.

    In a process of MONAI Label's that answers no requests (a training) there is nothing to do.
    """
    module = sys.modules.get("monailabel.app")
    if module is None:
        return
    for where, name, check in _handlers():
        original = getattr(where, name)
        if not hasattr(original, MARK):
            setattr(where, name, _checked(original, check))
    _Checks.app = app
    # the stack exists: the start of the server, in which the app is made, went through it
    stack = module.app.middleware_stack or module.app.build_middleware_stack()
    if not isinstance(stack, Guard):
        module.app.middleware_stack = Guard(stack, Rules.of_environment(remote_studies=_is_remote(app)))


def _is_remote(app: MONAILabelApp) -> bool:
    return app.studies.startswith(("http://", "https://"))


def _checked(handler: Callable, check: Callable[[Arguments], None]) -> Callable:
    """The handler, called with arguments that `check` has looked at and replaced in place."""
    signature = inspect.signature(handler)

    @functools.wraps(handler)
    def checked(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            check(bound.arguments)
        except Refused as refused:
            raise HTTPException(refused.status, str(refused)) from refused
        return handler(*bound.args, **bound.kwargs)

    setattr(checked, MARK, True)
    return checked


class _Checks:
    """What each handler's arguments must be; they are replaced by their checked values."""

    app: MONAILabelApp

    @classmethod
    def infer(cls, given: Arguments) -> None:
        task = _named(cls.app._infers, "model", given["model"])
        _file(given["file"], "file")
        _file(given["label"], "label", (*values.IMAGES, ".bin"))
        if given["session_id"]:
            values.session("session_id", given["session_id"])
            if cls.app.sessions() is None or not cls.app.sessions().get_session(given["session_id"]):
                raise Refused("session_id: there is no such session.", 404)
        if given["image"] or not (given["file"] or given["session_id"]):
            cls.known_image("image", given["image"], optional=bool(given["file"] or given["session_id"]))
        params = values.json_object("params", given["params"])
        given["params"] = json.dumps(values.known(params, values.INFER | _options(task), device_map()))

    @classmethod
    def train(cls, given: Arguments) -> None:
        _named(cls.app._trainers, "model", given["model"])
        given["params"] = values.known(given["params"], values.TRAIN, device_map())

    @classmethod
    def train_all(cls, given: Arguments) -> None:
        # by model, or the same for each: what is not by model is not read
        given["params"] = {name: values.known(one, values.TRAIN, device_map()) for name, one in _by_name(given, cls.app._trainers)}

    @classmethod
    def batch(cls, given: Arguments) -> None:
        task = _named(cls.app._infers, "model", given["model"])
        given["params"] = values.known(given["params"], values.BATCH | _options(task), device_map())

    @classmethod
    def score(cls, given: Arguments) -> None:
        _named(cls.app._scoring_methods, "method", given["method"])
        given["params"] = values.known(given["params"], values.SCORE, device_map())

    @classmethod
    def score_all(cls, given: Arguments) -> None:
        given["params"] = {name: values.known(one, values.SCORE, device_map()) for name, one in _by_name(given, cls.app._scoring_methods)}

    @classmethod
    def sample(cls, given: Arguments) -> None:
        _named(cls.app._strategies, "strategy", given["strategy"])
        given["params"] = values.known(given["params"], values.SAMPLE)

    @classmethod
    def add_image(cls, given: Arguments) -> None:
        name = _file(given["file"], "file")
        given["image"] = values.file_name("image", given["image"] or name.split(".")[0], new=True)
        given["params"] = json.dumps(values.json_object("params", given["params"]))

    @classmethod
    def save_label(cls, given: Arguments) -> None:
        cls.known_image("image", given["image"])
        _file(given["label"], "label", (*values.IMAGES, ".bin") if _is_remote(cls.app) else values.IMAGES)
        cls.label(given)
        given["params"] = json.dumps(values.json_object("params", given["params"]))

    @classmethod
    def image(cls, given: Arguments) -> None:
        cls.known_image(*next((name, given[name]) for name in ("image", "id") if name in given))
        cls.info(given)

    @classmethod
    def label(cls, given: Arguments) -> None:
        for name in ("label", "id", "image"):
            if isinstance(given.get(name), str):
                values.file_name(name, given[name])
        given["tag"] = values.tag("tag", given["tag"] or "final")
        cls.info(given)

    @staticmethod
    def info(given: Arguments) -> None:
        if "info" in given:
            given["info"] = json.dumps(values.info("info", given["info"]))

    @staticmethod
    def session(given: Arguments) -> None:
        values.session("session_id", given["session_id"])

    @staticmethod
    def new_session(given: Arguments) -> None:
        if given["uncompress"]:
            raise Refused("uncompress: archives are not unpacked, because they may hold names of other folders. Send the files.", 400)
        for file in given["files"]:
            file.filename = values.file_name("files", (file.filename or "scan.nii.gz").replace("\\", "/").rsplit("/", 1)[-1], new=True)

    @classmethod
    def known_image(cls, name: str, value: Any, *, optional: bool = False) -> None:
        """Refuse an image that the studies do not hold: MONAI Label would take it for a path."""
        if optional and not value:
            return
        text = values.file_name(name, value)
        if _is_remote(cls.app):
            # series of a DICOMweb server are fetched by their UID, which no file near the app is named like
            if not all(part.isdigit() for part in text.split(".")):
                raise Refused(f"{name}: {text[:80]!r} is not the UID of a series.", 404)
        elif text not in cls.app.datastore().list_images():
            raise Refused(f"{name}: the studies hold no {text[:80]!r}.", 404)


def _handlers() -> list[tuple[Any, str, Callable[[Arguments], None]]]:
    """Module, name of its handler, check: everything that takes a value of a request."""
    images = ("remove_image", "download_image", "get_image_info", "update_image_info")
    labels = ("remove_label", "download_label", "get_label_info", "update_label_info")
    return [
        (infer, "run_inference", _Checks.infer),
        (train, "run_model", _Checks.train),
        (train, "run", _Checks.train_all),
        (batch_infer, "run", _Checks.batch),
        (scoring, "run_method", _Checks.score),
        (scoring, "run", _Checks.score_all),
        (activelearning, "sample", _Checks.sample),
        (datastore, "add_image", _Checks.add_image),
        (datastore, "save_label", _Checks.save_label),
        *((datastore, name, _Checks.image) for name in images),
        *((datastore, name, _Checks.label) for name in labels),
        (session, "get_session", _Checks.session),
        (session, "remove_session", _Checks.session),
        (session, "create_session", _Checks.new_session),
    ]


def _named(tasks: dict[str, Any], what: str, name: str) -> Any:
    if name not in tasks:
        raise Refused(f"{what}: there is no {str(name)[:80]!r}. There is: {', '.join(tasks) or 'none'}.", 404)
    return tasks[name]


def _by_name(given: Arguments, tasks: dict[str, Any]) -> list[tuple[str, Any]]:
    params = given["params"] or {}
    values.plain("params", params)
    return [(name, params.get(name)) for name in tasks if params.get(name)]


def _options(task: Any) -> dict[str, values.Check]:
    return values.options(getattr(task, "displayable_configs", {}))


def _file(file: Any, name: str, endings: tuple[str, ...] = values.IMAGES) -> str:
    """The name of an upload, if its ending is allowed; "" where there is none."""
    if file is None:
        return ""
    file.filename = values.upload(name, file.filename, endings)
    return file.filename
