// UTF-8 between strings and bytes. QuickJS has no `TextEncoder`.

/** Returns the UTF-8 bytes of a string. A surrogate without its partner becomes U+FFFD. */
export function encode(text) {
    const bytes = [];
    for (const symbol of text) {
        let code = symbol.codePointAt(0);
        if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
        if (code < 0x80) bytes.push(code);
        else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
        else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
        else {
            bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63));
            bytes.push(0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
        }
    }
    return Uint8Array.from(bytes);
}

/**
 * Decodes UTF-8. Each malformed sequence becomes U+FFFD, as the Encoding standard counts them; with
 * `fatal` it throws a `TypeError`.
 */
export function decode(bytes, fatal = false) {
    return new Decoder(fatal).push(bytes, true);
}

/** How many bytes of text to pass to `String.fromCodePoint` at once. */
const CHUNK = 4096;

/** Decodes UTF-8 that arrives in pieces. */
export class Decoder {
    #fatal;
    #code = 0;
    #needed = 0;
    #lower = 0x80;
    #upper = 0xbf;

    constructor(fatal) {
        this.#fatal = fatal;
    }

    /** Decodes the next piece. `last` ends the text. */
    push(bytes, last) {
        let text = "";
        let codes = [];
        const add = (code) => {
            codes.push(code);
            if (codes.length < CHUNK) return;
            text += String.fromCodePoint(...codes);
            codes = [];
        };
        for (let i = 0; i < bytes.length; i++) {
            const byte = bytes[i];
            if (this.#needed === 0) {
                if (byte < 0x80) add(byte);
                else if (!this.#start(byte)) add(this.#malformed());
            } else if (byte < this.#lower || byte > this.#upper) {
                add(this.#malformed());
                i--;
            } else {
                this.#lower = 0x80;
                this.#upper = 0xbf;
                this.#code = (this.#code << 6) | (byte & 63);
                if (--this.#needed === 0) add(this.#code);
            }
        }
        if (last && this.#needed > 0) add(this.#malformed());
        return text + String.fromCodePoint(...codes);
    }

    #start(byte) {
        if (byte >= 0xc2 && byte <= 0xdf) [this.#needed, this.#code] = [1, byte & 0x1f];
        else if (byte >= 0xe0 && byte <= 0xef) {
            if (byte === 0xe0) this.#lower = 0xa0;
            if (byte === 0xed) this.#upper = 0x9f;
            [this.#needed, this.#code] = [2, byte & 0xf];
        } else if (byte >= 0xf0 && byte <= 0xf4) {
            if (byte === 0xf0) this.#lower = 0x90;
            if (byte === 0xf4) this.#upper = 0x8f;
            [this.#needed, this.#code] = [3, byte & 0x7];
        } else return false;
        return true;
    }

    #malformed() {
        if (this.#fatal) throw new TypeError("the bytes are not valid UTF-8");
        [this.#needed, this.#lower, this.#upper] = [0, 0x80, 0xbf];
        return 0xfffd;
    }
}
