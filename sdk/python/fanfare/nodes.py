"""The nodes of the cluster, as this node knows them. Without a cluster, there is only this node."""

from __future__ import annotations

from collections.abc import Sequence

from ._backend import backend
from ._imports import opt_text, text_of
from .types import Node

__all__ = ["Node", "get", "list"]


def list(server: str | None = None) -> Sequence[Node]:
    """Returns the nodes that calls can reach now, of a server type or all of them, sorted by id.

    This node is among them. The hooks `nodeUp` and `nodeDown` tell of changes.
    """
    return backend().list_nodes(opt_text(server))


def get(id: str) -> Node | None:
    """Returns the node with this id, or `None` when no such node can be reached."""
    return backend().get_node(text_of(id))
