"""The table of description forms. To add one, write its reader in this package and its row here."""

from __future__ import annotations

from pathlib import Path

from bundle.errors import BundleError
from bundle.inference_yml import InferenceDescription
from bundle.strict_yaml import read_yaml

from .form import Form, Source
from .inference_yml import is_inference_yml, is_operator_list, read_document, read_operator_list
from .paddleclas_yaml import is_deploy_yaml, is_training_yaml, read_deploy_yaml, read_training_yaml
from .paddlex_yml import is_paddlex_yml, read_paddlex_yml

FORMS = (
    Form("inference.yml", ("inference.yml",), "PreProcess", is_inference_yml, read_document),
    Form("model.yml", ("model.yml",), "Transforms", is_paddlex_yml, read_paddlex_yml),
    Form(
        "inference_cls.yaml",
        ("inference_cls*.yaml",),
        "PreProcess",
        is_deploy_yaml,
        read_deploy_yaml,
    ),
    Form("a training YAML", (), "Infer", is_training_yaml, read_training_yaml),
    Form("a transform_ops list", (), "transform_ops", is_operator_list, read_operator_list),
)
LABEL_FILES = ("labels.txt", "label_list.txt", "label.txt", "labels.json", "labels.yml")


def read_description(source: Source) -> InferenceDescription:
    """Read a description of any form of the table.

    Raises:
        BundleError: the file is not YAML, or of no form.
        ConversionError: it is of a form, and cannot be served.
    """
    document = read_yaml(source.path)
    for form in FORMS:
        if form.recognises(document):
            return form.read(document, source)
    known = ", ".join(f"{form.key} ({form.title})" for form in FORMS)
    raise BundleError(f"{source.path}: is no description: it holds none of {known}")


def description_beside(folder: Path) -> Path | None:
    """The description file beside a model, in the order of the table; None if there is none."""
    for form in FORMS:
        for pattern in form.beside:
            found = sorted(path for path in folder.glob(pattern) if path.is_file())
            if found:
                return found[0]
    return None


def names_beside() -> str:
    """The names that description files beside a model have, for errors."""
    titles = [form.title for form in FORMS if form.beside]
    return f"{', '.join(titles[:-1])} or {titles[-1]}"


def label_files_beside(folder: Path) -> tuple[Path, ...]:
    """The label files beside a model."""
    return tuple(folder / name for name in LABEL_FILES if (folder / name).is_file())


def label_file_beside(folder: Path) -> Path | None:
    """The label file beside a model; None if there is none, or more than one."""
    found = label_files_beside(folder)
    return found[0] if len(found) == 1 else None
