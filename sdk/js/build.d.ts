/** Builds the component of a module, and writes it by renaming a finished file. */
export function build(options: {
    /** The entry in JavaScript or TypeScript. */
    entry: string;
    output: string;
    /** The folder that paths are relative to. Default: that of the process. */
    cwd?: string;
}): Promise<{ size: number; warnings: string[] }>;

/** A build failed because of the module. Its message is for the author. */
export class BuildError extends Error {}
