// Adds rows times coefficients, eight values a beat. The scale code lies in the low bits of a row's
// first beat, so the beats wait in a pipeline until the coefficient is known; nothing in it ever
// stops, since the first beat enters only if the sums have somewhere to go.
`default_nettype none
module accumulate #(
  parameter int D = 64
) (
  input  wire              clk,
  input  wire              rst,
  input  wire  [1:0][4:0]  shift,
  input  wire              in_valid,
  input  wire  [17:0]      in,            // announcement: set, weight, last, empty
  output wire              in_take,
  output wire              gathered,      // one cycle: a row is complete
  input  wire              arrives,
  input  wire  [63:0]      data,
  output wire              ready,
  input  wire              room,          // a bank for the sums of one more target
  output wire              reserve,
  // the sums of a target, a word of eight at a time
  output logic             out_valid,
  output logic [$clog2(D/8)-1:0] out_word,
  output logic             out_last,
  output logic [7:0][29:0] out_sums,
  output wire  [21:0]      out_total,     // set, W; with out_last
  output wire              total_valid,
  input  wire              total_take
);
  localparam int WORDS = D / 8;
  localparam int INDEX = $clog2(WORDS);
  // The announcement in hand, in registers: whether a beat may enter hangs on it.
  logic announced, set, last, empty;
  logic [14:0] weight;
  wire next;
  assign in_take = in_valid && (!announced || next);
  always_ff @(posedge clk) begin
    announced <= !rst && (in_take || (announced && !next));
    if (in_take) {set, weight, last, empty} <= in;
  end

  // ---- stage 0: what enters
  logic [INDEX-1:0] word;
  logic fresh;  // the next row is a target's first
  wire may = announced && (!last || room || word != 0);
  wire pass = may && empty;
  wire enter = arrives && ready;
  wire ends = enter && word == INDEX'(WORDS - 1);
  assign ready = may && !empty;
  assign next = ends || pass;
  assign gathered = ends;
  assign reserve = pass || (enter && last && word == 0);
  always_ff @(posedge clk)
    if (rst) begin
      word  <= 0;
      fresh <= 1;
    end else begin
      if (enter) word <= word + 1'b1;
      if (next) fresh <= last;
    end

  // W of the target, handed over beside the sums.
  logic [20:0] total;
  logic totals_push, total_set;
  wire [2:0] unused_totals;
  always_ff @(posedge clk) begin
    if (next) begin
      total <= (fresh ? 21'd0 : total) + (empty ? 21'd0 : {6'd0, weight});
      total_set <= set;
    end
    totals_push <= next && last && !rst;
  end
  fifo #(.WIDTH(22), .LOG2(2)) totals (
    .clk, .rst, .push(totals_push), .in({total_set, total}), .pop(total_take), .out(out_total),
    .valid(total_valid), .count(unused_totals)
  );

  // ---- stages 1 to 5: the coefficient, min(65535, (w * S + round) >> SHIFT), S = (16 + m) << e.
  // With one bit below the point and 15 more for e, it is one shift to the right, by SHIFT - e + 15.
  function automatic logic [7:0] code_of(input logic [63:0] beat);
    for (int b = 0; b < 8; b++) code_of[b] = beat[8*b];
  endfunction
  wire [7:0] code = code_of(data);
  logic [63:0] x1, x2, x3, x4, x5;
  logic [5:1] valid, starts, adds, finishes;  // a beat; a row's first; not a target's first row; its last
  logic [INDEX-1:0] word1, word2, word3, word4, word5;
  logic [14:0] weight1;
  logic [7:0] code1;
  logic [4:0] shift1;
  logic [19:0] product2;
  logic [5:0] by2;
  logic [2:0] by3;
  logic [35:0] shifted3, shifted4;
  logic [15:0] c;
  wire [17:0] rounded = {1'b0, shifted4[16:0]} + 18'd1;
  wire [35:0] wide2 = {product2, 16'd0} >> {by2[5:3], 3'd0};
  always_ff @(posedge clk) begin
    {x1, x2, x3, x4, x5} <= {data, x1, x2, x3, x4};
    {word1, word2, word3, word4, word5} <= {word, word1, word2, word3, word4};
    starts <= {starts[4:1], word == 0};
    adds <= {adds[4:1], !fresh};
    finishes <= {finishes[4:1], last};
    weight1 <= weight;
    code1 <= code;
    shift1 <= shift[set];
    product2 <= weight1 * {1'b1, code1[3:0]};
    by2 <= {1'b0, shift1} + 6'd15 - {2'd0, code1[7:4]};
    shifted3 <= wide2;
    by3 <= by2[2:0];
    shifted4 <= shifted3 >> by3;
    if (starts[4]) c <= shifted4[35:17] != 0 || rounded[17] ? 16'hFFFF : rounded[16:1];
    if (rst) valid <= 0;
    else valid <= {valid[4:1], enter};
  end

  // ---- stages 6 and 7: multiply, add. A word comes again after D / 8 >= 4 cycles, its sum is
  // written after 2.
  logic [7:0][24:0] product6;
  logic [7:0][29:0] sums6, sums;
  logic [INDEX-1:0] word6;
  logic valid6, finishes6, adds6;
  (* ram_style = "distributed" *) logic [239:0] memory[WORDS];
  for (genvar b = 0; b < 8; b++) begin : values
    assign sums[b] = (adds6 ? sums6[b] : 30'd0) + {{5{product6[b][24]}}, product6[b]};
    always_ff @(posedge clk)
      product6[b] <= $signed({1'b0, c}) * $signed({x5[8*b+1+:7], x5[8*b] && !starts[5]});
  end
  always_ff @(posedge clk) begin
    sums6 <= memory[word5];
    {word6, adds6, finishes6} <= {word5, adds[5], finishes[5]};
    valid6 <= valid[5] && !rst;
    if (valid6) memory[word6] <= sums;
  end
  // An empty target has no beats: a last word of whatever sums, with W = 0, follows the beats before.
  logic [6:1] passes;
  always_ff @(posedge clk) begin
    passes <= rst ? 6'd0 : {passes[5:1], pass};
    out_valid <= !rst && ((valid6 && finishes6) || passes[6]);
    out_word <= word6;
    out_last <= passes[6] || word6 == INDEX'(WORDS - 1);
    out_sums <= sums;
  end
endmodule
`default_nettype wire
