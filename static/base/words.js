/** Words in the language of the page: from its catalogue (labeler/views/language.py), else as they stand here. */
const catalogue = globalThis.django;
const LANGUAGE = document.documentElement.lang || "en";

/** @param {string} words */
export const gettext = (words) => catalogue?.gettext?.(words) ?? words;

/** @param {string} one @param {string} many @param {number} count */
export const ngettext = (one, many, count) => catalogue?.ngettext?.(one, many, count) ?? (count === 1 ? one : many);

/** `%(name)s` in words gives way to the value of that name. @param {string} words @param {object} values */
export const fill = (words, values) => words.replace(/%\((\w+)\)s/g, (_, name) => String(values[name]));

/** Hours and minutes. @param {Date} moment */
export const timeOfDay = (moment) =>
  moment.toLocaleTimeString(LANGUAGE === "en" ? "en-GB" : LANGUAGE, { hour: "2-digit", minute: "2-digit" });

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export const number = (value, options) => value.toLocaleString(LANGUAGE, options);
