// What is loaded when it is first needed: colours for code, formulas.

import { clean } from './markdown'

let colours: Promise<typeof import('./colours')> | null = null
let formulas: Promise<typeof import('./formulas')> | null = null

/** Colour the code in `node`, once it stands still. */
export async function colour(node: HTMLElement): Promise<void> {
  const blocks = [...node.querySelectorAll<HTMLElement>('pre > code[class*="language-"]:not([data-done])')]
  if (!blocks.length) return
  colours ??= import('./colours')
  const { highlighted } = await colours
  for (const block of blocks) {
    const language = /language-([\w+#-]+)/.exec(block.className)?.[1] ?? ''
    const html = highlighted(block.textContent ?? '', language)
    block.dataset.done = 'true'
    if (html !== null) block.innerHTML = clean(html)
  }
}

/** Typeset the formulas in `node`. */
export async function typeset(node: HTMLElement): Promise<void> {
  const found = [...node.querySelectorAll<HTMLElement>('.formula:not([data-done])')]
  if (!found.length) return
  formulas ??= import('./formulas')
  const { render } = await formulas
  for (const one of found) {
    const source = one.textContent ?? ''
    one.dataset.done = 'true'
    render(source, one, one.dataset.display === 'true')
  }
}
