import { handler } from "fanfare";

export const rates = handler(({ json: { currencies, type } }) => ({
    rates: Object.fromEntries(currencies.map((currency) => [currency, 1.5])),
    at: 7,
    source: { name: type },
}));

/** 1.25, if the caller's stub has written the path and the query well. */
export const rate = handler(({ params, query }) => {
    const expected = { day: "mo & tu", limit: "3", exact: "true" };
    const matches = Object.entries(expected).every(([name, value]) => query[name] === value) && !("kind" in query);
    return params.currency === "a/b" && matches ? 1.25 : 0;
});

export const quote = handler(({ json: { lines } }) => {
    const sum = (list) => list.reduce((total, { price, parts = [] }) => total + price + sum(parts), 0);
    return { name: "sum", next: { name: String(sum(lines)) } };
});

export const any = handler(({ text }) => text.toUpperCase());

// A handler that returns a text sends it as it is.
export const word = handler(({ json }) => JSON.stringify(`${json}!`));

export const changed = handler(({ json }) => json === "EUR");
