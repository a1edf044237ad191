/**
 * Where the pages stand, from the address that the server put into `<base>`: "/bsgateway", or "/proxy/bsgateway" where
 * LiteLLM's SERVER_ROOT_PATH stands before it. Without a slash at its end.
 */
export function basePath(baseURI: string): string {
  return new URL(baseURI).pathname.replace(/\/+$/, "");
}

/** The address of something that the gateway serves, relative to the pages: "api/me", "feedback". */
export function address(path: string, baseURI: string): string {
  return `${basePath(baseURI)}/${path.replace(/^\/+/, "")}`;
}
