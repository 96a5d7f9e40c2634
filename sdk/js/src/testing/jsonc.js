/** Parses JSON with comments and trailing commas, as the host reads manifests. */
export function parseJsonc(text) {
    // Strings are matched first, so that nothing in them is taken for a comment or a comma.
    const plain = text
        .replace(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\/\*[^]*?\*\//g, (part) => (part.startsWith("/") ? " " : part))
        .replace(/"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])/g, (part) => (part.startsWith(",") ? "" : part));
    return JSON.parse(plain);
}
