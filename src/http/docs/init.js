// Relative, as the page may stand behind a proxy that puts a prefix before its path. Without
// `validatorUrl: null` the document would be sent to a validator elsewhere. Only reads can be tried
// out: a write by a page is refused unless its origin is allowed, and this page's is not.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  supportedSubmitMethods: ["get"],
  validatorUrl: null,
});
