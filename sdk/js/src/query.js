/** Returns the names and values of a query, decoded. */
export function queryPairs(query) {
    return query
        .split("&")
        .filter((pair) => pair)
        .map((pair) => {
            const at = pair.indexOf("=");
            return at < 0 ? [decodePart(pair), ""] : [decodePart(pair.slice(0, at)), decodePart(pair.slice(at + 1))];
        });
}

/** Decodes text as HTML forms encode it. A malformed escape stays as it is. */
function decodePart(text) {
    const spaced = text.replaceAll("+", " ");
    try {
        return decodeURIComponent(spaced);
    } catch {
        return spaced;
    }
}
