import { handler, type Receipt, type Reply } from "fanfare";
import { shop } from "../_types/fanfare-types.js";

export const total = handler(async () => {
    const { rates, at, source } = await shop.innerRates({ currencies: ["EUR"], "most-recent": true, type: "buy", limit: null });
    const count: number = Object.values(rates).length + at;
    const name: string | null | undefined = source?.name;
    const rate: number = await shop.getByCurrency("a/b", undefined, { timeout: 500, to: "worker-0" });
    const line = await shop.quote({ lines: [{ price: 1, parts: [{ price: 2 }] }], any: 1 });
    const next: string | undefined = line.next?.name;
    const any: Reply = await shop.class_("text");
    const word: string | null = await shop.word("w");
    const receipt: Receipt = shop.broadcasts.rateChanged.emit("EUR");
    const heard = await shop.broadcasts.rateChanged.gather("EUR", { timeout: 500 });
    const values: (boolean | undefined)[] = heard.map((answer) => answer.value);
    return { count, name, rate, next, any: any.text, word, accepted: receipt.accepted, values };
});

// @ts-expect-error The payload lacks a property.
export const lacks = () => shop.innerRates({});
// @ts-expect-error The payload has one that the route does not take.
export const wrong = () => shop.innerRates({ currencies: [], other: 1 });
// @ts-expect-error The value is none of those.
export const other = () => shop.innerRates({ currencies: [], type: "lend" });
