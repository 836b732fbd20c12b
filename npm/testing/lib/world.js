// Made from the service's rules by `make api`.
export {};
