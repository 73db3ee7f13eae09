// Relative, as the page may stand behind a proxy that puts a prefix before its path. Without
// `validatorUrl: null` the document would be sent to a validator elsewhere.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
