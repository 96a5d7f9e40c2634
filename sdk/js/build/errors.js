/** A build failed because of the module. Its message is for the author. */
export class BuildError extends Error {
    constructor(message) {
        super(message);
        this.name = "BuildError";
    }
}

/** Returns the error of componentize-qjs with places in the sources instead of the bundle. */
export function readable(error, code) {
    const [, json] = /globalThis\.__fanfareLines = (.*);\n$/.exec(code) ?? [];
    const { sources, places } = json ? JSON.parse(json) : { sources: [], places: [] };
    const lines = String(error?.message ?? error)
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
    const found = [];
    const rest = [];
    for (const line of lines) {
        const [, number] = /:(\d+)(?::\d+)?\)?$/.exec(line) ?? [];
        if (number === undefined || !line.startsWith("at ")) {
            rest.push(line);
            continue;
        }
        const place = places[Number(number) - 1];
        if (place) found.push(`${sources[place[0]]}:${place[1]}`);
    }
    const at = found.length > 0 ? `${found[0]}: ` : "";
    return `${at}the module failed while it was built: ${rest.join(" ")}`;
}
