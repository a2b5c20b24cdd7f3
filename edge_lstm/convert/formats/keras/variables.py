"""Which array of a file is which weight of a layer, in the two layouts that Keras writes."""

import re
from collections.abc import Sequence
from typing import Protocol

from edge_lstm.convert.formats.keras.chain import INPUT
from edge_lstm.convert.formats.keras.hdf5 import Array, Contents
from edge_lstm.convert.formats.keras.settings import Layer, refuse

# where the layers' groups are: Keras 3 and 2.13+; Keras 2.12
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
TOP_LEVEL = "top_level_model_weights"
_SEED = "seed_generator"  # state of a dropout's random numbers, which inference does not draw


class Variables(Protocol):
    """One layer's arrays; each is taken once, ``done`` refuses those that nobody took."""

    def take(self, place: str, roles: Sequence[str]) -> list[Array]:
        """Return the arrays of a cell or layer inside this one, by what they are to it."""

    def done(self) -> None:
        """Refuse what is left."""


class _ByPlace:
    """Keras 3: arrays are numbered, in groups after the classes: layers/lstm_1/cell/vars/0."""

    def __init__(self, layer: Layer, arrays: dict[str, Array]) -> None:
        self._where = layer.where
        self._left = {path: array for path, array in arrays.items() if _SEED not in path}

    def take(self, place: str, roles: Sequence[str]) -> list[Array]:
        paths = [f"{place}/vars/{k}".removeprefix("/") for k in range(len(roles))]
        for path, role in zip(paths, roles, strict=True):
            if path not in self._left:
                refuse(f"{self._where}: the file has no array {path}, its {role}; save the model again")
        return [self._left.pop(path) for path in paths]

    def done(self) -> None:
        if self._left:
            refuse(f"{self._where}: the file has arrays that are not known here: {sorted(self._left)[:8]}")


class _ByName:
    """HDF5 of Keras 2: an attribute gives the names, in the order in which Keras loads them."""

    def __init__(self, layer: Layer, contents: Contents) -> None:
        self._where = layer.where
        names = contents.names("", "weight_names")
        if names is None:
            refuse(f"{self._where}: its group has no list of weight_names")
        unknown = sorted(set(contents.arrays).symmetric_difference(names))
        if unknown or len(set(names)) != len(names):
            refuse(f"{self._where}: its arrays are not those that its weight_names list: {unknown[:8]}")
        self._left = [name for name in names if _SEED not in name]
        self._arrays = contents.arrays

    def take(self, place: str, roles: Sequence[str]) -> list[Array]:
        names, self._left = self._left[: len(roles)], self._left[len(roles) :]
        found = [leaf(name) for name in names]
        # an int8 dense layer lists its bias first
        if found != list(roles) and not ("kernel_scale" in roles and sorted(found) == sorted(roles)):
            refuse(f"{self._where}: its weights are {found}, expected {list(roles)}")
        by_role = dict(zip(found, names, strict=True))
        return [self._arrays[by_role[role]] for role in roles]

    def done(self) -> None:
        if self._left:
            refuse(f"{self._where}: the file has arrays that are not known here: {self._left[:8]}")


def leaf(name: str) -> str:
    """Return what a weight is: "kernel" of "lstm/lstm_cell/kernel:0"."""
    return name.rpartition("/")[2].partition(":")[0]


def container(contents: Contents) -> str | None:
    """Return the group that has the layers' groups in it, None if the file has another layout."""
    found = [name for name in CONTAINERS if name in contents.texts]
    return found[0] if len(found) == 1 else None


def by_place(contents: Contents, stored: Sequence[Layer]) -> dict[str, Variables]:
    """Return each layer's arrays, by the layer's name, from the layout of Keras 3.

    Raises:
        WeightsError: the groups are not those of the layers.
    """
    top = container(contents) or refuse("the weights have no group of layers")
    names = unique([snake_case(layer.kind) for layer in stored])
    groups = {layer.name: f"{top}/{name}" for layer, name in zip(stored, names, strict=True)}
    for layer in stored:
        told = contents.text(f"{groups[layer.name]}/vars", "name")
        if told not in (None, layer.name):
            refuse(f"{layer.where}: its group {groups[layer.name]} says that it is of {told!r}; save the model again")
    homes = {f"{top}/{name}" for name in names}
    lost = [path for path in contents.arrays if "/".join(path.split("/")[:2]) not in homes]
    if lost:
        refuse(f"the file has arrays that belong to none of its layers: {sorted(lost)[:8]}")
    return {layer.name: _ByPlace(layer, contents.within(groups[layer.name]).arrays) for layer in stored}


def by_name(contents: Contents, stored: Sequence[Layer]) -> dict[str, Variables]:
    """Return each layer's arrays, by the layer's name, from the layout of Keras 2.

    Raises:
        WeightsError: the groups are not those of the layers.
    """
    listed = contents.names("", "layer_names")
    if listed is None:
        refuse("the weights have no list of layer_names")
    expected = [layer.name for layer in stored]
    optional = {layer.name for layer in stored if layer.kind == INPUT}
    if sorted(set(listed) | optional) != sorted(expected) or len(set(listed)) != len(listed):
        refuse(f"the weights are of layers {listed!r:.300}, the configuration has {expected!r:.300}")
    lost = [path for path in contents.arrays if path.partition("/")[0] not in listed]
    if lost:
        refuse(f"the file has arrays that belong to none of its layers: {sorted(lost)[:8]}")
    return {layer.name: _ByName(layer, contents.within(layer.name)) for layer in stored if layer.name in listed}


def snake_case(kind: str) -> str:
    """Return the name that Keras gives a class's group: "leaky_re_lu" of "LeakyReLU"."""
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()


def unique(names: Sequence[str]) -> list[str]:
    """Return the names numbered as Keras numbers them: lstm, lstm_1, lstm_2."""
    return [f"{name}_{k}" if (k := list(names[:at]).count(name)) else name for at, name in enumerate(names)]
