// Where an error was thrown, in the source files of the module.

/** The frames of a stack that are worth reading. */
const MOST = 8;

/** Returns the places in an error's stack, the innermost first: `src/greet.js:7`. */
export function place(error) {
    const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : "";
    const found = [];
    for (const line of stack.split("\n")) {
        const match = /([^\s()]+?):(\d+)(?::\d+)?\)?$/.exec(line.trim());
        const known = match && source(match[1], Number(match[2]));
        if (known && found.at(-1) !== known) found.push(known);
        if (found.length === MOST) break;
    }
    return found;
}

/**
 * Returns the place of a line of the bundle. `undefined` for lines of the SDK.
 *
 * The build appends `__fanfareLines` to the bundle: the names of the sources, and for each line of
 * the bundle the index of its source and the line there.
 */
function source(file, line) {
    const lines = globalThis.__fanfareLines;
    if (!lines) return file.includes("node:") || file.includes("/sdk/js/src/") ? undefined : `${file}:${line}`;
    const [index, at] = lines.places[line - 1] || [];
    return index === undefined ? undefined : `${lines.sources[index]}:${at}`;
}
