// From a source map to a table of lines, so that the module can name places in its sources.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const CONTINUES = 32;

/** Reads the numbers of one segment of a source map (VLQ in base 64). */
function* numbers(segment) {
    let value = 0;
    let shift = 0;
    for (const symbol of segment) {
        const digit = DIGITS.indexOf(symbol);
        value |= (digit & (CONTINUES - 1)) << shift;
        shift += 5;
        if (digit & CONTINUES) continue;
        yield value & 1 ? -(value >> 1) : value >> 1;
        [value, shift] = [0, 0];
    }
}

/**
 * Returns the names of the sources, and for each line of the bundle `[source, line]`, or 0 for a
 * line of the SDK.
 */
export function lineTable(map, isOwn) {
    const sources = [];
    const indexes = new Map();
    const places = [];
    let source = 0;
    let original = 0;
    for (const line of map.mappings.split(";")) {
        let first = 0;
        for (const segment of line.split(",")) {
            const [, toSource, toLine] = [...numbers(segment)];
            if (toSource === undefined) continue;
            source += toSource;
            original += toLine;
            const name = map.sources[source];
            if (first === 0 && isOwn(name)) {
                if (!indexes.has(name)) indexes.set(name, sources.push(name) - 1);
                first = [indexes.get(name), original + 1];
            }
        }
        places.push(first);
    }
    while (places.at(-1) === 0) places.pop();
    return { sources, places };
}
