"""A module whose state cannot be handed over."""

from __future__ import annotations

from fanfare import Call, handler, snapshot

raises = ""


@handler
def raise_in(call: Call) -> None:
    global raises
    raises = call.text


@handler
def raises_in() -> str:
    return raises


def save() -> dict[str, str]:
    if raises == "save":
        raise ValueError("cannot be saved")
    return {"raises": raises}


async def load(state: dict[str, str]) -> None:
    if state["raises"] == "load":
        raise ValueError("cannot be loaded")


snapshot(save, load)
