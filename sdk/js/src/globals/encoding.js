// `TextEncoder` and `TextDecoder`, for UTF-8.

import { Decoder, encode } from "../text.js";

const LABELS = ["utf-8", "utf8", "unicode-1-1-utf-8"];

export class TextEncoder {
    get encoding() {
        return "utf-8";
    }

    encode(text = "") {
        return encode(String(text));
    }

    encodeInto(text, into) {
        let read = 0;
        let written = 0;
        for (const symbol of String(text)) {
            const bytes = encode(symbol);
            if (written + bytes.length > into.length) break;
            into.set(bytes, written);
            read += symbol.length;
            written += bytes.length;
        }
        return { read, written };
    }
}

export class TextDecoder {
    #decoder;
    #first = true;

    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
        if (!LABELS.includes(String(label).trim().toLowerCase())) {
            throw new RangeError(`\`TextDecoder\` of the SDK decodes UTF-8 only, not ${label}`);
        }
        this.fatal = fatal;
        this.ignoreBOM = ignoreBOM;
    }

    get encoding() {
        return "utf-8";
    }

    decode(input = new Uint8Array(), { stream = false } = {}) {
        const bytes = ArrayBuffer.isView(input)
            ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
            : new Uint8Array(input);
        this.#decoder ??= new Decoder(this.fatal);
        let text = this.#decoder.push(bytes, !stream);
        if (this.#first && text.length > 0) {
            if (!this.ignoreBOM && text.startsWith("\uFEFF")) text = text.slice(1);
            this.#first = false;
        }
        if (!stream) [this.#decoder, this.#first] = [undefined, true];
        return text;
    }
}

export { TextEncoder as "globalThis.TextEncoder", TextDecoder as "globalThis.TextDecoder" };
