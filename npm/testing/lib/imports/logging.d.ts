export declare const logInfo: (message: string) => void;
export declare const logWarn: (message: string) => void;
export declare const logError: (message: string) => void;
