from fanfare import Call, CallError, Receipt, Reply, handler, rpc
from fanfare_types import shop


@handler
async def total(call: Call) -> str:
    found = await shop.inner_rates({"currencies": ["EUR"], "most-recent": True, "type": "buy", "limit": None})
    count: int = len(found["rates"]) + found["at"]
    name: str | None = found["source"]["name"] if "source" in found else None
    rate: float = await shop.get_by_currency(
        "a/b", {"day": "mo & tu", "limit": 3, "exact": True}, timeout=5, to=rpc.worker(0)
    )
    line = await shop.quote({"lines": [{"price": 1, "parts": [{"price": 2}]}], "any": 1})
    following = line.get("next")
    last: str | None = following["name"] if following else None
    reply: Reply = await shop.class_("text")
    word: str | None = await shop.word("w")
    receipt: Receipt = shop.broadcasts.rate_changed.emit("EUR")
    heard: list[bool | CallError] = await shop.broadcasts.rate_changed.gather("EUR", timeout=5)
    answers = ",".join(str(answer).lower() for answer in heard)
    return f"{count} {name} {rate} {last} {reply.text} {word} {receipt.accepted} {answers}"


async def wrong() -> None:
    await shop.inner_rates({})  # type: ignore[typeddict-item]
    await shop.inner_rates({"currencies": [], "other": 1})  # type: ignore[typeddict-unknown-key]
    await shop.inner_rates({"currencies": [], "type": "lend"})  # type: ignore[typeddict-item]
    await shop.get_by_currency(1, {})  # type: ignore[typeddict-item]
