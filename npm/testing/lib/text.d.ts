/** A method, white space, and the rest. */
export declare const WITH_METHOD: RegExp;
/** A text without white space at its ends. */
export declare const strip: (text: string) => string;
/** The number of code points. */
export declare function length(text: string): number;
export declare const hasLoneSurrogate: (text: string) => boolean;
/** Whether PostgreSQL and every encoding can hold it. */
export declare const isStorable: (text: string) => boolean;
export declare const byCodePoint: (one: string, other: string) => number;
