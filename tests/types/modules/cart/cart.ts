import { handler, type Receipt, type Reply } from "fanfare";
import { shop } from "../_types/fanfare-types.js";

export const total = handler(async () => {
    const { rates, at, source } = await shop.innerRates({ currencies: ["EUR"], "most-recent": true, type: "buy", limit: null });
    const count: number = Object.values(rates).length + at;
    const name: string | null | undefined = source?.name;
    const day = { day: "mo & tu", limit: 3, exact: true };
    const rate: number = await shop.getByCurrency("a/b", day, undefined, { timeout: 5000, to: "worker-0" });
    const line = await shop.quote({ lines: [{ price: 1, parts: [{ price: 2 }] }], any: 1 });
    const next: string | undefined = line.next?.name;
    const any: Reply = await shop.class_("text");
    const word: string | null = await shop.word("w");
    const receipt: Receipt = shop.broadcasts.rateChanged.emit("EUR");
    const heard = await shop.broadcasts.rateChanged.gather("EUR", { timeout: 5000 });
    const values: (boolean | undefined)[] = heard.map((answer) => answer.value);
    return [count, name, rate, next, any.text, word, receipt.accepted, values.join()].join(" ");
});

// @ts-expect-error The payload lacks a property.
export const lacks = () => shop.innerRates({});
// @ts-expect-error The payload has one that the route does not take.
export const wrong = () => shop.innerRates({ currencies: [], other: 1 });
// @ts-expect-error The query lacks a property.
export const day = () => shop.getByCurrency(1, {});
// @ts-expect-error The value is none of those.
export const other = () => shop.innerRates({ currencies: [], type: "lend" });
