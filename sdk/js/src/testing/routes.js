// The routes of a manifest, and which of them a path selects.

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/** Splits `[METHOD ]path[?query]`. */
export function parseRoute(text) {
    const [, method, rest] = /^(?:([A-Z]+) )?([^]*)$/.exec(text);
    if (method && !METHODS.includes(method)) throw new TypeError(`there is no method ${method}`);
    const at = rest.indexOf("?");
    const [path, query] = at < 0 ? [rest, ""] : [rest.slice(0, at), rest.slice(at + 1)];
    return { method, path: path.replace(/^\//, ""), query };
}

export class Routes {
    #all;

    constructor(manifest) {
        this.#all = (manifest.routes ?? []).map(({ method = "post", path, handler, middlewares = [] }) => ({
            method: method.toUpperCase(),
            pattern: path,
            segments: path.split("/"),
            handler,
            middlewares: [middlewares].flat(),
        }));
    }

    /** Without a method: `POST`, or the only method that the path has. */
    find({ method, path }) {
        const segments = path.split("/");
        const fitting = this.#all
            .map((route) => ({ route, params: match(route.segments, segments) }))
            .filter(({ params }) => params)
            .sort((a, b) => a.params.length - b.params.length);
        const named = (wanted) => fitting.find(({ route }) => route.method === wanted);
        if (method) return named(method === "HEAD" ? "GET" : method);
        return named("POST") ?? (new Set(fitting.map(({ route }) => route.method)).size === 1 ? fitting[0] : undefined);
    }
}

/** Returns the parameters of a path, or `undefined` when it does not fit the pattern. */
export function matchPath(pattern, path) {
    return match(pattern.split("/"), path.split("/"));
}

/** Returns the value for a name: its own, or that of the pattern `prefix/*` with the longest prefix. */
export function best(patterns = {}, name) {
    if (Object.hasOwn(patterns, name)) return patterns[name];
    const segments = name.split("/");
    for (let most = segments.length - 1; most > 0; most--) {
        const pattern = `${segments.slice(0, most).join("/")}/*`;
        if (Object.hasOwn(patterns, pattern)) return patterns[pattern];
    }
    return undefined;
}

/** Returns the parameters, or `undefined` when the path does not fit. */
function match(pattern, segments) {
    if (pattern.length !== segments.length) return undefined;
    const params = [];
    for (const [index, part] of pattern.entries()) {
        const [, name] = /^\{(.+)\}$/.exec(part) ?? [];
        if (name !== undefined && segments[index] !== "") params.push([name, decodeURIComponent(segments[index])]);
        else if (part !== segments[index]) return undefined;
    }
    return params;
}
