import random from "wasi:random/random@0.2.0";
import { needsHost } from "./instance.js";

/** Returns random bytes of the host. */
export function randomBytes(length) {
    needsHost("a random number of the host");
    return random.getRandomBytes(length);
}

/**
 * Gives `Math.random` a seed in each instance. The build keeps the memory of the module, with the
 * state of the built-in generator, so that all instances would see the same numbers.
 */
export function seedMathRandom() {
    const state = new Uint32Array(randomBytes(16).slice().buffer);
    // xoshiro128**, whose state must not be zero.
    state[0] |= 1;
    const next = () => {
        const result = Math.imul(rotated(Math.imul(state[1], 5), 7), 9) >>> 0;
        const shifted = state[1] << 9;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = rotated(state[3], 11);
        return result;
    };
    Math.random = () => ((next() >>> 6) * 0x8000000 + (next() >>> 5)) / 0x20000000000000;
}

function rotated(value, by) {
    return (value << by) | (value >>> (32 - by));
}
