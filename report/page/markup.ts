/** HTML by a template that escapes: what a server or a user wrote can only ever be text. */

/** Markup that needs no escaping any more. */
export class Html {
  constructor(private readonly markup: string) {}

  toString(): string {
    return this.markup;
  }
}

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function asMarkup(value: unknown): string {
  if (value instanceof Html) return value.toString();
  if (Array.isArray(value)) return value.map(asMarkup).join("");
  if (value === undefined || value === null || value === false) return "";
  return String(value).replace(/[&<>"']/g, (char) => escapes[char] as string);
}

/**
 * Markup with values in it, as content or inside quoted attributes. Values are escaped unless they are markup themselves;
 * of an array each value is; undefined, null and false are left out.
 */
export function html(parts: TemplateStringsArray, ...values: unknown[]): Html {
  return new Html(parts.map((part, i) => (i === 0 ? part : asMarkup(values[i - 1]) + part)).join(""));
}

/** Markup, style or script of our own making, as it is. Never what a server or a user wrote. */
export function raw(markup: string): Html {
  return new Html(markup);
}
