/**
 * Elements of the page. Whatever text they are given becomes text, and never markup: nothing here knows of HTML.
 */
import { piecesOf } from "./visible.ts"

/** What an element may be given within it. */
export type Child = Node | string | undefined

const svgNamespace = "http://www.w3.org/2000/svg"

const fill = <E extends Element>(
  element: E,
  attributes: Readonly<Record<string, string>>,
  children: ReadonlyArray<Child>
): E => {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children.filter((child) => child !== undefined))
  return element
}

/** Makes an element. */
export const make = <Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: ReadonlyArray<Child>
): HTMLElementTagNameMap[Tag] => fill(document.createElement(tag), attributes, children)

/** Makes an element of a drawing. */
export const makeSvg = <Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: ReadonlyArray<Child>
): SVGElementTagNameMap[Tag] =>
  fill(document.createElementNS(svgNamespace, tag) as SVGElementTagNameMap[Tag], attributes, children)

/** A text of somebody else's, apart from the direction of what is around it, with what cannot be seen written out. */
export const foreign = (text: string): HTMLElement =>
  make(
    "bdi",
    {},
    ...piecesOf(text).map(({ isEscape, text }) => isEscape ? make("span", { class: "escape" }, text) : text)
  )

/** Says a text where it is another than before: what is said again would be read out again. */
export const say = (element: Element, text: string): void => {
  if (element.textContent !== text) element.textContent = text
}

/** An element that the server's page has. */
export const find = <E extends Element = HTMLElement>(selector: string): E => {
  const found = document.querySelector<E>(selector)
  if (found === null) throw new Error(`the page has no ${selector}`)
  return found
}
