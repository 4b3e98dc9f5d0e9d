// The template's grammar in the browser: the same as training/fewshot/template.py, which has the last word.
//
// `parse` gives parts with their places, `write` gives the plain text back. Places count characters (code points),
// as Python does; `units` turns one into an index of a JavaScript string. Nothing typed is ever evaluated.
(() => {
  const KINDS = ["text", "hard", "soft", "mask", "sep", "cls"];
  const ATTRIBUTES = ["length", "truncate", "encoder", "hidden_size", "token_type", "position", "soft_id"];
  const TEXT_NAMES = new Map([["text", "a"], ["text_a", "a"], ["text_b", "b"], ["a", "a"], ["b", "b"]]);
  const LITERALS = new Map([["True", true], ["true", true], ["False", false], ["false", false], ["None", null], ["null", null]]);
  const MAX_CHARACTERS = 2000;
  const MAX_SOFT = 256;
  const MAX_MASKS = 32;
  // What Python calls white space, which is not quite what JavaScript does.
  const BLANK = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
  const LEADING = new RegExp(`^${BLANK}+`);
  const AROUND = new RegExp(`^${BLANK}+|${BLANK}+$`, "g");
  const BLANK_ONE = new RegExp(`^${BLANK}$`);
  const DECIMALS = /^\p{Nd}+$/u;

  class Fault extends Error {
    constructor(fault, at, end) {
      super(fault);
      Object.assign(this, { fault, at, end });
    }
  }

  const strip = (text) => text.replace(AROUND, "");

  // Digits of any script stand in runs of ten, so counting back to the run's start gives their value.
  function digit(char) {
    const code = char.codePointAt(0);
    let back = 0;
    while (/^\p{Nd}$/u.test(String.fromCodePoint(code - back - 1))) back += 1;
    return back % 10;
  }
  const number = (text) => [...text].reduce((sum, char) => sum * 10 + digit(char), 0);

  // Fills `pieces`; what stood before a fault is in it.
  function split(chars, pieces) {
    let words = [];
    let begun = 0;
    let at = 0;
    const endWords = () => {
      if (words.length) pieces.push({ value: words.join(""), start: begun, end: at, braced: false });
      words = [];
    };
    while (at < chars.length) {
      const char = chars[at];
      if (!words.length) begun = at;
      if ((char === "{" || char === "}") && chars[at + 1] === char) {
        words.push(char);
        at += 2;
      } else if (char === "}") {
        endWords();
        throw new Fault("stray_brace", at, at + 1);
      } else if (char === "{") {
        endWords();
        words = [];
        const end = closing(chars, at);
        pieces.push({ value: chars.slice(at + 1, end).join(""), start: at, end: end + 1, braced: true });
        at = end + 1;
      } else {
        words.push(char);
        at += 1;
      }
    }
    endWords();
  }

  function closing(chars, start) {
    let quote = null;
    let at = start + 1;
    const inside = chars.slice(at).join("").replace(LEADING, "");
    const quoted = inside[0] === "'" || inside[0] === '"';
    while (at < chars.length) {
      const char = chars[at];
      if (quote) {
        if (char === "\\") at += 1;
        else if (char === quote) quote = null;
      } else if (quoted && (char === "'" || char === '"')) {
        quote = char;
      } else if (char === "}") {
        return at;
      } else if (char === "{") {
        break;
      }
      at += 1;
    }
    throw new Fault("not_closed", start, chars.length);
  }

  function partition(text, mark) {
    const at = text.indexOf(mark);
    return at < 0 ? [text, false, ""] : [text.slice(0, at), true, text.slice(at + 1)];
  }

  function partOf(piece) {
    if (!piece.braced) return { kind: "hard", value: piece.value, length: null };
    const inside = piece.value;
    if (/^['"]/.test(strip(inside))) return dictPart(readPairs([...inside], piece.start + 1));
    const [rawName, colon, value] = partition(inside, ":");
    const name = strip(rawName);
    if (["text", "text_a", "text_b"].includes(name) && !colon) return { kind: "text", value: TEXT_NAMES.get(name), length: null };
    if (name === "mask") return { kind: "mask", value: "", length: colon ? count(value) : null };
    if (name === "soft") {
      if (!colon) return { kind: "soft", value: "", length: 1 };
      const words = strip(value);
      return DECIMALS.test(words) ? { kind: "soft", value: "", length: number(words) } : { kind: "soft", value: words, length: null };
    }
    if (name === "sep" && !colon) return { kind: "sep", value: "", length: null };
    throw new Fault("unknown_part");
  }

  function count(value) {
    const word = strip(value);
    if (!DECIMALS.test(word) || [...word].length > 4) throw new Fault("length");
    return number(word);
  }

  function dictPart(pairs) {
    let kinds = pairs.filter(([key]) => !ATTRIBUTES.includes(key));
    if (kinds.length !== 1) {
      if (!kinds.length && pairs.some(([key]) => key === "soft_id")) kinds = [["soft", null]];
      else throw new Fault("unknown_part");
    }
    const [kind, value] = kinds[0];
    if (!KINDS.includes(kind)) throw new Fault("unknown_part");
    const attributes = new Map(pairs.filter(([key]) => ATTRIBUTES.includes(key)));
    const numbers = {};
    for (const key of ["length", "token_type", "position", "hidden_size", "soft_id"]) {
      const item = attributes.get(key) ?? null;
      if (item !== null && typeof item !== "number") throw new Fault("attribute");
      numbers[key] = item;
    }
    const truncate = attributes.has("truncate") ? attributes.get("truncate") : true;
    if (typeof truncate !== "boolean") throw new Fault("attribute");
    const encoder = attributes.get("encoder") ?? null;
    if (encoder !== null && typeof encoder !== "string") throw new Fault("attribute");
    if (value !== null && typeof value !== "string") throw new Fault("attribute");
    if (kind === "text" && !TEXT_NAMES.has(value)) throw new Fault("unknown_part");
    const length = kind === "soft" && !value && numbers.length === null ? 1 : numbers.length;
    const part = { kind, value: kind === "text" ? TEXT_NAMES.get(value) : value || "", length, dict: true };
    if (!truncate) part.truncate = false;
    for (const key of ["position", "hidden_size", "soft_id"]) if (numbers[key] !== null) part[key] = numbers[key];
    if (numbers.token_type) part.token_type = numbers.token_type;
    if (encoder !== null) part.encoder = encoder;
    if (kind === "soft" && ![null, "lstm", "mlp", "none", "None"].includes(encoder)) throw new Fault("attribute");
    return part;
  }

  function readPairs(inside, at) {
    const pairs = [];
    let pos = 0;
    const quoted = () => pos < inside.length && (inside[pos] === "'" || inside[pos] === '"');
    const blank = () => {
      while (pos < inside.length && BLANK_ONE.test(inside[pos])) pos += 1;
    };
    const string = () => {
      const quote = inside[pos];
      const out = [];
      pos += 1;
      while (pos < inside.length) {
        if (inside[pos] === "\\" && pos + 1 < inside.length) {
          out.push({ n: "\n", t: "\t" }[inside[pos + 1]] ?? inside[pos + 1]);
          pos += 2;
        } else if (inside[pos] === quote) {
          pos += 1;
          return out.join("");
        } else {
          out.push(inside[pos]);
          pos += 1;
        }
      }
      throw new Fault("quoted", at + pos);
    };
    for (;;) {
      blank();
      if (!quoted()) throw new Fault("quoted", at + pos);
      const key = string();
      let value = null;
      blank();
      if (inside[pos] === ":") {
        pos += 1;
        blank();
        if (quoted()) {
          value = string();
        } else {
          let end = pos;
          while (end < inside.length && inside[end] !== ",") end += 1;
          value = literal(strip(inside.slice(pos, end).join("")), at + pos);
          pos = end;
        }
      }
      if (pairs.some(([known]) => known === key)) throw new Fault("quoted", at + pos);
      pairs.push([key, value]);
      blank();
      if (pos >= inside.length) return pairs;
      if (inside[pos] !== ",") throw new Fault("quoted", at + pos);
      pos += 1;
    }
  }

  function literal(word, at) {
    if (LITERALS.has(word)) return LITERALS.get(word);
    if (/^[0-9]{1,6}$/.test(word)) return Number(word);
    throw new Fault("quoted", at);
  }

  function check(parts, places) {
    const place = (index) => (places ? [places[index].start, places[index].end] : []);
    parts.forEach((part, index) => {
      const limit = part.kind === "mask" ? MAX_MASKS : MAX_SOFT;
      if (part.length !== null && !(part.length >= 1 && part.length <= limit)) throw new Fault("length", ...place(index));
      if ((part.token_type || 0) > 1) throw new Fault("attribute", ...place(index));
      if (part.kind === "soft" && !part.value && part.length === null) throw new Fault("empty_soft", ...place(index));
    });
    const masks = parts.flatMap((part, index) => (part.kind === "mask" ? [index] : []));
    if (masks.length > 1 && masks.some((index) => parts[index].length === null)) throw new Fault("two_masks", ...place(masks[1]));
    if (masks.reduce((sum, index) => sum + (parts[index].length || 1), 0) > MAX_MASKS) throw new Fault("length", ...place(masks.at(-1)));
    if (!parts.some((part) => part.kind === "text")) throw new Fault("no_text");
    if (!masks.length) throw new Fault("no_mask");
  }

  // {parts, bare, error}. Parts carry `start`, `end` and their own `raw` text; what cannot be read is a part of kind
  // "wrong". `bare`: a sentence without parts, which stands for text, sentence, masks. error: null, or {fault, at, end}.
  function parse(source) {
    const chars = [...source];
    const parts = [];
    const pieces = [];
    let bare = false;
    let error = null;
    const attempt = (step, otherwise) => {
      try {
        step();
      } catch (problem) {
        if (!(problem instanceof Fault)) throw problem;
        otherwise?.(problem);
        error ??= { fault: problem.fault, at: problem.at ?? null, end: problem.end ?? null };
      }
    };
    const rawOf = (start, end) => ({ raw: chars.slice(start, end).join(""), start, end });
    if (chars.length > MAX_CHARACTERS) {
      error = { fault: "too_long", at: MAX_CHARACTERS, end: chars.length };
      return { parts: [{ kind: "wrong", value: "", length: null, ...rawOf(0, chars.length) }], bare, error };
    }
    attempt(() => split(chars, pieces));
    bare = !error && !pieces.some((piece) => piece.braced);
    if (bare) {
      const sentence = strip(pieces.map((piece) => piece.value).join(""));
      if (!sentence) return { parts, bare, error: { fault: "empty", at: null, end: null } };
      for (const [kind, value] of [["text", "a"], ["hard", sentence], ["mask", ""]]) parts.push({ kind, value, length: null });
      return { parts, bare, error };
    }
    for (const piece of pieces) {
      const raw = rawOf(piece.start, piece.end);
      attempt(
        () => parts.push({ ...partOf(piece), ...raw }),
        (problem) => {
          problem.at ??= piece.start;
          problem.end ??= piece.end;
          parts.push({ kind: "wrong", value: "", length: null, ...raw });
        },
      );
    }
    const read = pieces.at(-1)?.end ?? 0;
    if (read < chars.length) parts.push({ kind: "wrong", value: "", length: null, ...rawOf(read, chars.length) });
    if (!error) attempt(() => check(parts, pieces));
    return { parts, bare, error };
  }

  // The plain text of one part; what was read and not changed comes back as it was written.
  function writePart(part) {
    if (part.raw !== undefined) return part.raw;
    if (part.kind === "hard") return part.value.replaceAll("{", "{{").replaceAll("}", "}}");
    if (part.kind === "text") return part.value === "b" ? "{text_b}" : "{text}";
    if (part.kind === "mask") return part.length ? `{mask:${part.length}}` : "{mask}";
    if (part.kind === "sep") return "{sep}";
    if (part.kind === "cls") return "{'cls'}";
    if (!part.value) return part.length === 1 ? "{soft}" : `{soft:${part.length ?? ""}}`;
    if (/[{}]/.test(part.value) || DECIMALS.test(part.value)) {
      return `{'soft':'${part.value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'}`;
    }
    return `{soft:${part.value}}`;
  }
  const write = (parts) => parts.map(writePart).join("");

  const units = (source, index) => [...source].slice(0, index).join("").length;

  globalThis.WorkbenchTemplate = { parse, write, units };
})();
