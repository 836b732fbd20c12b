// Records alone, which JavaScript has no values for.
export {};
