// The AXI4-Lite side: what registers.toml says. Words only: a write of single bytes is refused. A START
// waits on the bus until there is room for its batch.
`default_nettype none
module registers #(
  parameter int D = 64,
  parameter int PORTS = 1,
  parameter int OUTSTANDING = 16,
  parameter logic [31:0] VERSION = 32'h4D52_0200
) (
  input  wire         clk,
  input  wire         rst,
  input  wire  [7:0]  awaddr,
  input  wire         awvalid,
  output wire         awready,
  input  wire  [31:0] wdata,
  input  wire  [3:0]  wstrb,
  input  wire         wvalid,
  output wire         wready,
  output logic [1:0]  bresp,
  output logic        bvalid,
  input  wire         bready,
  input  wire  [7:0]  araddr,
  input  wire         arvalid,
  output wire         arready,
  output logic [31:0] rdata,
  output logic        rvalid,
  input  wire         rready,
  output logic        irq,
  // to and from the queue of batches
  output logic        start,
  output logic        reset,
  output logic        bad,
  input  wire         idle,
  input  wire         full,
  input  wire  [3:0]  error,
  input  wire  [7:0]  done,
  input  wire         over,
  input  wire         zero,
  input  wire  [31:0] cycles,
  input  wire  [31:0] read_beats,
  input  wire  [31:0] rows,
  output logic [6:0]  fanout,
  output logic [1:0]  mode,
  output logic [3:0]  length_log2,
  output logic [4:0]  shift,
  output logic [31:0] decay,
  output logic [31:0] seed,
  output logic [31:0] count,
  output logic [31:0] targets,
  output logic [31:0] degrees,
  output logic [31:0] edges,
  output logic [31:0] table_base,
  output logic [31:0] out,
  output logic [31:0] base,
  output logic [31:0] limit
);
  localparam logic [5:0] START = 6'h1B;
  // The 12 registers of a batch repeat, four times, from 0x40 to the end.
  function automatic logic [5:0] once(input logic [5:0] where);
    if (where < 6'd28) once = where;
    else if (where < 6'd40) once = where - 6'd12;
    else if (where < 6'd52) once = where - 6'd24;
    else once = where - 6'd36;
  endfunction

  // ---- writing
  logic [31:0] word;
  logic [5:0] where;
  logic write;
  wire [5:0] addressed = once(awaddr[7:2]);
  // A START, or a RESET, of the cycles before does not show in full yet.
  wire hold = addressed == START && (full || start || reset) && error == 0;
  assign awready = awvalid && wvalid && !bvalid && !write && !hold;
  assign wready = awready;
  logic irq_enable, irq_status;
  always_ff @(posedge clk) begin
    if (awready) begin
      word  <= wdata;
      where <= addressed;
      bresp <= wstrb == 4'hF ? 2'd0 : 2'd2;
    end
    // The write takes effect a cycle before its response can be taken.
    write <= awready && wstrb == 4'hF && !rst;
    bvalid <= !rst && (awready || (bvalid && !bready));
    start <= write && where == START && word[0] && !rst;
    reset <= write && where == 6'h00 && word[1] && !rst;
    irq <= irq_enable && irq_status;
    if (over) irq_status <= 1;
    else if (zero || (write && where == 6'h05 && word[0])) irq_status <= 0;
    if (write)
      case (where)
        6'h04: irq_enable <= word[0];
        6'h10: {shift, length_log2, mode, fanout} <= {word[20:16], word[15:12], word[9:8], word[6:0]};
        6'h11: decay <= word;
        6'h12: seed <= word;
        6'h13: count <= word;
        6'h14: targets <= word;
        6'h15: degrees <= word;
        6'h16: edges <= word;
        6'h17: table_base <= word;
        6'h18: out <= word;
        6'h19: base <= word;
        6'h1A: limit <= word;
        default: ;
      endcase
    if (rst) begin
      {irq, irq_enable, irq_status} <= 0;
      {shift, length_log2, mode, fanout} <= 0;
      {decay, seed, count, targets, degrees, edges, table_base, out, base, limit} <= 0;
    end
    bad <= fanout == 0 || fanout > 64 || mode == 3 || length_log2 < 3 || length_log2 > 10
        || decay == 0 || decay > 65536 || count == 0 || count > 65535
        || targets[2:0] != 0 || degrees[2:0] != 0 || edges[5:0] != 0
        || table_base[$clog2(D)-1:0] != 0 || out[$clog2(D)-1:0] != 0;
  end

  // ---- reading: the address, then the word
  logic [5:0] wanted;
  logic read;
  assign arready = arvalid && !read && !rvalid;
  always_ff @(posedge clk) begin
    if (arready) wanted <= once(araddr[7:2]);
    read <= arready && !rst;
    rvalid <= !rst && (read || (rvalid && !rready));
    if (read)
      case (wanted)
        6'h00: rdata <= {cycles[21:6], done, error, full, idle, 2'd0};
        6'h04: rdata <= {31'd0, irq_enable};
        6'h05: rdata <= {31'd0, irq_status};
        6'h10: rdata <= {11'd0, shift, length_log2, 2'd0, mode, 1'd0, fanout};
        6'h11: rdata <= decay;
        6'h12: rdata <= seed;
        6'h13: rdata <= count;
        6'h14: rdata <= targets;
        6'h15: rdata <= degrees;
        6'h16: rdata <= edges;
        6'h17: rdata <= table_base;
        6'h18: rdata <= out;
        6'h19: rdata <= base;
        6'h1A: rdata <= limit;
        6'h01: rdata <= cycles;
        6'h02: rdata <= read_beats;
        6'h03: rdata <= rows;
        6'h06: rdata <= {12'd0, 8'(OUTSTANDING), 4'(PORTS), 8'(D)};
        6'h07: rdata <= VERSION;
        default: rdata <= 0;
      endcase
  end
endmodule
`default_nettype wire
